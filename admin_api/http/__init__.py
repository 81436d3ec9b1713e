"""What every endpoint shares: authentication, permissions, bodies, parameters, problems, answers."""
