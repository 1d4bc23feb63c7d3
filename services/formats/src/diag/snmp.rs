//! The `Tcp:` lines of `/proc/PID/net/snmp`: one of names, one of values (the TCP group of RFC 4022).

/// What TCP of a namespace did since the namespace began. All but `established` only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpCounters {
    /// Connections this side asked for.
    pub active_opens: u64,
    /// Connections the other side asked for.
    pub passive_opens: u64,
    /// Connections that were asked for and never open.
    pub attempt_fails: u64,
    /// Open connections that were reset.
    pub established_resets: u64,
    /// Connections open now.
    pub established: u64,
    /// Segments received.
    pub segments_in: u64,
    /// Segments sent, without those sent again.
    pub segments_out: u64,
    /// Segments sent again.
    pub retransmitted: u64,
    /// Segments received that were damaged.
    pub errors_in: u64,
    /// Resets sent.
    pub resets_out: u64,
}

/// Nothing where one of the counters is missing or no number. Takes no memory; columns are found by name, so a kernel may add some.
pub fn tcp_counters(text: &[u8]) -> Option<TcpCounters> {
    let mut lines = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"Tcp:"));
    let names = std::str::from_utf8(lines.next()?).ok()?;
    let values = std::str::from_utf8(lines.next()?).ok()?;
    let value = |name: &str| {
        let mut columns = names
            .split_ascii_whitespace()
            .zip(values.split_ascii_whitespace());
        columns.find(|(column, _)| *column == name)?.1.parse().ok()
    };
    Some(TcpCounters {
        active_opens: value("ActiveOpens")?,
        passive_opens: value("PassiveOpens")?,
        attempt_fails: value("AttemptFails")?,
        established_resets: value("EstabResets")?,
        established: value("CurrEstab")?,
        segments_in: value("InSegs")?,
        segments_out: value("OutSegs")?,
        retransmitted: value("RetransSegs")?,
        errors_in: value("InErrs")?,
        resets_out: value("OutRsts")?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: &str = "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab \
        InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors";

    #[test]
    fn counters_are_found_by_name_among_other_protocols() {
        let text = format!(
            "Ip: Forwarding DefaultTTL\nIp: 1 64\n{NAMES}\nTcp: 1 200 120000 -1 1 2 3 4 5 6 7 8 9 10 11\nUdp: InDatagrams\nUdp: 5\n"
        );
        let told = TcpCounters {
            active_opens: 1,
            passive_opens: 2,
            attempt_fails: 3,
            established_resets: 4,
            established: 5,
            segments_in: 6,
            segments_out: 7,
            retransmitted: 8,
            errors_in: 9,
            resets_out: 10,
        };
        assert_eq!(tcp_counters(text.as_bytes()), Some(told));
    }

    #[test]
    fn a_file_that_ends_early_is_nothing() {
        assert_eq!(tcp_counters(b""), None);
        assert_eq!(tcp_counters(NAMES.as_bytes()), None);
        let short = format!("{NAMES}\nTcp: 1 200 120000 -1 1 2 3\n");
        assert_eq!(tcp_counters(short.as_bytes()), None);
        let no_number = format!("{NAMES}\nTcp: 1 200 120000 -1 1 2 3 4 5 6 7 x 9 10 11\n");
        assert_eq!(tcp_counters(no_number.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_nothing(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            values in "(Tcp:[ 0-9a-z-]{0,60}\n){0,3}",
        ) {
            let _ = tcp_counters(&bytes);
            let _ = tcp_counters(format!("{NAMES}\n{values}").as_bytes());
        }
    }
}
