"""The state of one VM: records, the ring of slots, the host's mark, what an operator may do with them."""
