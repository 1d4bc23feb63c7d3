//! Files of `/proc` that tell of the whole machine.
