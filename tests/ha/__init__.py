"""The drill of several machines: real etcd, Patroni and Kashi on loopback, and faults."""
