//! `/proc/net/dev` and `/proc/PID/net/dev`.

use super::text::{integer, lines, words};

/// Longer names the kernel does not allow; a line without a colon behind as much is a heading.
const NAME_BYTES_MAX: usize = 15;

/// Since the interface was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetCounters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets received broken.
    pub rx_errors: u64,
    /// Packets received and let fall.
    pub rx_drops: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets let fall before they were sent.
    pub tx_drops: u64,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface<'t> {
    /// Its name: at most 15 bytes, any but white space, `/` and `:`.
    pub name: &'t [u8],
    /// What it has seen.
    pub counters: NetCounters,
}

impl NetCounters {
    /// The sum of both; each counter stops at the largest number.
    pub fn saturating_add(self, other: NetCounters) -> NetCounters {
        NetCounters {
            rx_bytes: self.rx_bytes.saturating_add(other.rx_bytes),
            rx_packets: self.rx_packets.saturating_add(other.rx_packets),
            rx_errors: self.rx_errors.saturating_add(other.rx_errors),
            rx_drops: self.rx_drops.saturating_add(other.rx_drops),
            tx_bytes: self.tx_bytes.saturating_add(other.tx_bytes),
            tx_packets: self.tx_packets.saturating_add(other.tx_packets),
            tx_errors: self.tx_errors.saturating_add(other.tx_errors),
            tx_drops: self.tx_drops.saturating_add(other.tx_drops),
        }
    }

    /// The columns behind the name: bytes packets errs drop fifo frame compressed multicast of what is received, then bytes
    /// packets errs drop … of what is sent.
    fn parse(columns: &[u8]) -> Option<NetCounters> {
        /// Where the columns of what is sent begin.
        const SENT: usize = 8;
        let mut values = [0; SENT + 4];
        let mut words = words(columns);
        for value in &mut values {
            *value = integer(words.next()?)?;
        }
        Some(NetCounters {
            rx_bytes: values[0],
            rx_packets: values[1],
            rx_errors: values[2],
            rx_drops: values[3],
            tx_bytes: values[SENT],
            tx_packets: values[SENT + 1],
            tx_errors: values[SENT + 2],
            tx_drops: values[SENT + 3],
        })
    }
}

/// Every interface of the table, loopback too. Lines that are cut short or malformed are passed over.
pub fn interfaces(text: &[u8]) -> impl Iterator<Item = Interface<'_>> {
    lines(text).filter_map(|line| {
        let colon = line
            .iter()
            .take(NAME_BYTES_MAX + 1)
            .position(|byte| *byte == b':')?;
        Some(Interface {
            name: line[..colon].trim_ascii(),
            counters: NetCounters::parse(&line[colon + 1..])?,
        })
    })
}

/// The sum of all interfaces but loopback: what a container has sent and received. `None` when the text holds no table; a table
/// of loopback alone is a container without a network, which has sent nothing.
pub fn net_dev(text: &[u8]) -> Option<NetCounters> {
    let mut sum = None;
    for interface in interfaces(text) {
        let so_far: &mut NetCounters = sum.get_or_insert_default();
        if interface.name != b"lo" {
            *so_far = so_far.saturating_add(interface.counters);
        }
    }
    sum
}

/// The numbers of the interfaces in `/proc/PID/net/dev_mcast`, a line for each address they hear: number, name, and what is not
/// looked at here. An interface may be there several times. Lines that do not begin with a number are passed over.
pub fn multicast_interfaces(text: &[u8]) -> Vec<u32> {
    lines(text)
        .filter_map(|line| integer(words(line).next()?))
        .filter_map(|number| u32::try_from(number).ok())
        .collect()
}

/// The two lines above the table.
#[cfg(test)]
pub(crate) const NET_DEV_HEAD: &str = "Inter-|   Receive                                                |  Transmit\n face |bytes    \
    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn interfaces_are_known_by_the_addresses_they_hear() {
        let text = b"2    eth0            1     0     333300000001\n2    eth0            1     0     01005e000001\nx y\n\n99999999999 z\n";
        assert_eq!(multicast_interfaces(text), [2, 2]);
    }

    #[test]
    fn loopback_is_not_traffic() {
        let text = format!(
            "{NET_DEV_HEAD}    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0\n  eth0:1432 18 1 2 0 0 0 0 92 3 4 5 0 0 0 0\n  \
             eth1: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0\n"
        );
        let expected = NetCounters {
            rx_bytes: 1433,
            rx_packets: 19,
            rx_errors: 2,
            rx_drops: 3,
            tx_bytes: 93,
            tx_packets: 4,
            tx_errors: 5,
            tx_drops: 6,
        };
        assert_eq!(net_dev(text.as_bytes()), Some(expected));
    }

    #[test]
    fn a_container_without_a_network_has_sent_nothing() {
        let text = format!("{NET_DEV_HEAD}    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0\n");
        assert_eq!(net_dev(text.as_bytes()), Some(NetCounters::default()));
        assert_eq!(net_dev(NET_DEV_HEAD.as_bytes()), None);
        assert_eq!(net_dev(b""), None);
    }

    proptest! {
        #[test]
        fn each_interface_is_read_as_written(
            table in proptest::collection::vec(("[a-z][a-z0-9.@-]{0,14}", proptest::array::uniform16(any::<u64>())), 0..6)
        ) {
            let mut text = NET_DEV_HEAD.to_owned();
            for (name, columns) in &table {
                let columns: Vec<String> = columns.iter().map(u64::to_string).collect();
                text += &format!("{name:>6}:{}\n", columns.join("  "));
            }
            let read: Vec<_> = interfaces(text.as_bytes())
                .map(|interface| (interface.name.to_vec(), interface.counters.rx_bytes, interface.counters.tx_drops))
                .collect();
            let expected: Vec<_> = table.iter().map(|(name, columns)| (name.as_bytes().to_vec(), columns[0], columns[11])).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn no_near_miss_makes_it_panic(text in "(eth0:|lo:|[0-9]{1,25}|[ \n:|-]){0,80}") {
            let _ = net_dev(text.as_bytes());
        }
    }
}
