"""The drill of several machines: real etcd, Patroni and Kashi, and faults."""
