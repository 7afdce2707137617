"""`python -m turntape`: the command line, wherever the wheel is installed."""

from turntape import main

main()
