"""Any octets, to everything that reads octets: `make fuzz`."""
