//! `/proc/net/dev` of the machine.

use crate::kernel::{Interface, interfaces};

/// Interfaces told of; what a machine has beyond these is left out, in the kernel's order.
pub const INTERFACES_MAX: usize = 64;

/// Interfaces whose names begin so carry what passes through a physical one as well, or never leaves the machine: those of
/// containers and virtual machines, bridges, bonds, tunnels and test devices.
const VIRTUAL: [&[u8]; 28] = [
    b"veth",
    b"docker",
    b"br-",
    b"virbr",
    b"vnet",
    b"tap",
    b"tun",
    b"cni",
    b"flannel",
    b"cali",
    b"lxc",
    b"podman",
    b"bond",
    b"team",
    b"wg",
    b"tailscale",
    b"vxlan",
    b"geneve",
    b"gre",
    b"erspan",
    b"sit",
    b"ip6tnl",
    b"ip_vti",
    b"tunl",
    b"ipvlan",
    b"macvlan",
    b"dummy",
    b"ifb",
];

/// The interfaces that are hardware, as far as names tell: without loopback, those of containers, bridges, tunnels and VLANs
/// (`eth0.100`). Their sum counts no byte twice.
///
/// Read it in the host's network namespace. The kernel knows better what is hardware: it is what has a `device` under
/// `/sys/class/net/<name>`, for whom can see that.
pub fn physical_interfaces(text: &[u8]) -> impl Iterator<Item = Interface<'_>> {
    interfaces(text)
        .filter(|interface| is_physical(interface.name))
        .take(INTERFACES_MAX)
}

fn is_physical(name: &[u8]) -> bool {
    name != b"lo" && !name.contains(&b'.') && !VIRTUAL.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::NET_DEV_HEAD;
    use proptest::prelude::*;

    fn table<S: AsRef<str>>(names: &[S]) -> String {
        let mut text = NET_DEV_HEAD.to_owned();
        for name in names {
            text += &format!(
                "{:>6}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
                name.as_ref()
            );
        }
        text
    }

    #[test]
    fn only_hardware_is_told_of() {
        let text = table(&[
            "lo",
            "eth0",
            "enp3s0",
            "wlan0",
            "ib0",
            "veth12ab",
            "docker0",
            "docker_gwbridge",
            "br-0123456789ab",
            "eth0.100",
            "bond0",
            "ifb0",
            "tun0",
        ]);
        let names: Vec<_> = physical_interfaces(text.as_bytes())
            .map(|interface| interface.name)
            .collect();
        assert_eq!(names, [b"eth0".as_slice(), b"enp3s0", b"wlan0", b"ib0"]);
    }

    #[test]
    fn there_is_a_bound() {
        let names: Vec<String> = (0..2 * INTERFACES_MAX)
            .map(|at| format!("eth{at}"))
            .collect();
        let text = table(&names);
        assert_eq!(physical_interfaces(text.as_bytes()).count(), INTERFACES_MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = physical_interfaces(&bytes).count();
        }
    }
}
