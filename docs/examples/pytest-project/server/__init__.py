"""The help desk: a package that has the same name as one inside Turntape, and is another."""
