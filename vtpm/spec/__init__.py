"""Part 2 as data: constants, attributes, interface types and structures, without behavior."""
