//! The key that nodes share for moves, in a file. It is written before any actuator starts: one that starts meanwhile could read half of it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Writes a key of this byte, 32 times.
pub(crate) fn write(path: &Path, byte: u8) -> PathBuf {
    std::fs::write(path, format!("{byte:02x}").repeat(32)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_owned()
}
