"""The experiment harness: a config goes in, measurements and figures come out."""
