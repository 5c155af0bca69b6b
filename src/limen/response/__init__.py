"""When something is wrong: pause, exposure, trace. Functions that return a report value."""
