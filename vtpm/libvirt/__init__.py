"""TPMs of libvirt's domains: their definitions, and the connection to the hypervisor that has them."""
