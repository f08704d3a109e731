"""YAML files, the command line, and the schema that checks them."""
