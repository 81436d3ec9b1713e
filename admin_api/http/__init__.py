"""What every endpoint shares: authentication, permissions, parameters, bodies, answers and problems."""
