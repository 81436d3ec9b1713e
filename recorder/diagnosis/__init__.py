"""Find out what is wrong with a recorder: the checks of `recorder doctor`, and the archive of `recorder support`."""
