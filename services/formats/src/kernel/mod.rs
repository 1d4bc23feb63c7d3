//! Files of a cgroup or a process, read each second: parsers that allocate nothing.
