//! INET_DIAG: what the kernel tells of the TCP sockets of a network namespace, over netlink.
