"""Find out what is wrong: the checks of `recorder doctor`, and the archive of `recorder support`."""
