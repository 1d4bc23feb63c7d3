//! Counting numbered lines: which came, which came twice, which are missing, and which are said to be lost.
//!
//! A line is known by its container, stream and sequence; a merged one covers `sequence..sequence + lines`, and may have been
//! merged otherwise the second time it was sent. The text of each line begins with the number that its writer gave it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use units::{LogLine, LogStream};

/// Ranges of missing numbers that a report spells out.
const RANGES_MAX: usize = 12;
/// Complaints that are kept of one container.
const COMPLAINTS_MAX: usize = 10;

/// What came of one line: its number, and what was lost directly before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Came {
    number: u32,
    lost_before: u64,
    limited_before: u64,
}

/// The lines of one container.
#[derive(Debug, Default)]
pub struct Lines {
    /// By stream (0 standard output, 1 error) and sequence, so in the order they were written.
    came: BTreeMap<(u8, u64), Came>,
    repeats: u64,
    complaints: Vec<String>,
}

impl Lines {
    fn add(&mut self, line: &LogLine) {
        let stream = match line.stream {
            LogStream::Stdout => 0,
            LogStream::Stderr => 1,
        };
        let parts: Vec<&str> = line.text.split('\n').collect();
        if u32::try_from(parts.len()) != Ok(line.lines) {
            let (has, says) = (parts.len(), line.lines);
            self.complain(format!("{}: says {says} lines, has {has}", line.sequence));
        }
        for (sequence, part) in (line.sequence..).zip(parts) {
            let first = sequence == line.sequence;
            let Some(number) = part.split(' ').next().and_then(|word| word.parse().ok()) else {
                let shown: String = part.chars().take(40).collect();
                self.complain(format!("{sequence}: no number in {shown:?}"));
                continue;
            };
            let came = Came {
                number,
                lost_before: if first { line.lost_before } else { 0 },
                limited_before: if first { line.limited_before } else { 0 },
            };
            self.note((stream, sequence), came);
        }
    }

    fn note(&mut self, identity: (u8, u64), came: Came) {
        let Some(before) = self.came.get_mut(&identity) else {
            self.came.insert(identity, came);
            return;
        };
        self.repeats += 1;
        let number = before.number;
        before.lost_before = before.lost_before.max(came.lost_before);
        before.limited_before = before.limited_before.max(came.limited_before);
        if number != came.number {
            let (sequence, other) = (identity.1, came.number);
            self.complain(format!("{sequence}: both number {number} and {other}"));
        }
    }

    fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(complaint);
        }
    }

    /// Lines that came, each identity once.
    pub fn distinct(&self) -> u64 {
        self.came.len() as u64
    }

    /// Lines that came again.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Lines said to be lost.
    pub fn lost(&self) -> u64 {
        self.came.values().map(|came| came.lost_before).sum()
    }

    /// Lines said to be dropped by the rate limit.
    pub fn limited(&self) -> u64 {
        self.came.values().map(|came| came.limited_before).sum()
    }

    /// Whether this number came.
    pub fn has(&self, number: u32) -> bool {
        self.came.values().rev().any(|came| came.number == number)
    }

    /// What contradicts itself: numbers under two identities, one identity with two numbers, texts without a number.
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = self.complaints.clone();
        let mut seen = BTreeMap::new();
        for (identity, came) in &self.came {
            if let Some(before) = seen.insert(came.number, identity) {
                let number = came.number;
                found.push(format!(
                    "number {number} is both {before:?} and {identity:?}"
                ));
            }
        }
        found.truncate(COMPLAINTS_MAX);
        found
    }

    /// The numbers of `0..count` that did not come, as ranges with both ends included.
    pub fn missing(&self, count: u32) -> Vec<(u32, u32)> {
        let came: BTreeSet<u32> = self.came.values().map(|came| came.number).collect();
        let mut ranges = Vec::new();
        let mut next = 0;
        for number in came.into_iter().filter(|number| *number < count) {
            if number > next {
                ranges.push((next, number - 1));
            }
            next = number + 1;
        }
        if next < count {
            ranges.push((next, count - 1));
        }
        ranges
    }

    /// Where numbers jump: the number after the jump, how many are left out, and how many are said to be lost there.
    pub fn jumps(&self) -> Vec<(u32, u64, u64)> {
        let mut next = 0;
        let mut jumps = Vec::new();
        for came in self.came.values() {
            let left_out = u64::from(came.number.saturating_sub(next));
            if left_out > 0 || came.lost_before > 0 {
                jumps.push((came.number, left_out, came.lost_before));
            }
            next = came.number.saturating_add(1);
        }
        jumps
    }
}

/// The lines of all containers.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<String, Lines>);

impl Tally {
    /// Counts one line, as it was read.
    pub fn add(&mut self, line: &LogLine) {
        let lines = self.0.entry(line.container.as_str().to_owned());
        lines.or_default().add(line);
    }

    /// The lines of the container with this id.
    pub fn of(&self, container: &str) -> Option<&Lines> {
        self.0.get(container)
    }

    /// Whether each of the containers has as many lines as were written.
    pub fn is_complete<'c>(
        &self,
        containers: impl IntoIterator<Item = &'c String>,
        count: u32,
    ) -> bool {
        containers.into_iter().all(|id| {
            let lines = self.of(id);
            lines.is_some_and(|lines| lines.distinct() >= u64::from(count))
        })
    }

    /// What is wrong with each container, empty when every number of `0..count` came under one identity and none was lost.
    pub fn report<'c>(
        &self,
        containers: impl IntoIterator<Item = &'c String>,
        count: u32,
    ) -> String {
        let mut report = String::new();
        for id in containers {
            let nothing = Lines::default();
            let lines = self.of(id).unwrap_or(&nothing);
            let (missing, contradictions) = (lines.missing(count), lines.contradictions());
            let (lost, limited) = (lines.lost(), lines.limited());
            if missing.is_empty() && contradictions.is_empty() && lost + limited == 0 {
                continue;
            }
            let sum: u64 = missing
                .iter()
                .map(|(from, to)| u64::from(to - from) + 1)
                .sum();
            let shown: Vec<String> = missing
                .iter()
                .take(RANGES_MAX)
                .map(|(from, to)| format!("{from}..={to}"))
                .collect();
            let _ = writeln!(
                report,
                "{id:.12}: {} came ({} again), {sum} missing in {} ranges [{}], {lost} said lost, {limited} limited; {}",
                lines.distinct(),
                lines.repeats(),
                missing.len(),
                shown.join(", "),
                contradictions.join("; ")
            );
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use units::Timestamp;

    use super::*;

    fn line(sequence: u64, text: &str, lost_before: u64) -> LogLine {
        LogLine {
            at: Timestamp::EPOCH,
            node: "n".into(),
            service: "s".into(),
            container: "c".into(),
            name: "c".into(),
            stream: LogStream::Stdout,
            severity: units::LogSeverity::Unknown,
            sequence,
            lines: u32::try_from(text.split('\n').count()).unwrap(),
            lost_before,
            limited_before: 0,
            trace_id: None,
            text: text.to_owned(),
            raw: None,
        }
    }

    fn tally(lines: &[LogLine]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.add(line);
        }
        tally
    }

    fn report(tally: &Tally, count: u32) -> String {
        tally.report(&["c".to_owned()], count)
    }

    #[test]
    fn what_was_merged_otherwise_the_second_time_is_the_same() {
        let once = tally(&[
            line(7, "0 x\n1 x", 0),
            line(9, "2", 0),
            line(8, "1 x\n2", 0),
        ]);
        assert_eq!(report(&once, 3), "");
        assert_eq!(once.of("c").unwrap().repeats(), 2);
    }

    #[test]
    fn a_number_under_two_identities_is_told() {
        let twice = tally(&[line(0, "0", 0), line(1, "0", 0)]);
        assert!(report(&twice, 1).contains("number 0 is both"));
        let both = tally(&[line(0, "0", 0), line(0, "1", 0)]);
        assert!(report(&both, 1).contains("both number 0 and 1"));
    }

    #[test]
    fn missing_numbers_are_ranges() {
        let holes = tally(&[line(0, "1", 0), line(1, "4", 0)]);
        let ranges = holes.of("c").unwrap().missing(7);
        assert_eq!(ranges, [(0, 0), (2, 3), (5, 6)]);
        assert!(!holes.is_complete(&["c".to_owned()], 7));
        assert!(report(&Tally::default(), 7).contains("7 missing"));
    }

    #[test]
    fn jumps_tell_what_was_said_about_them() {
        let lines = tally(&[
            line(0, "0", 0),
            line(5, "5", 4),
            line(6, "8", 0),
            line(7, "9", 1),
        ]);
        let jumps = lines.of("c").unwrap().jumps();
        assert_eq!(jumps, [(5, 4, 4), (8, 2, 0), (9, 0, 1)]);
        assert_eq!(lines.of("c").unwrap().lost(), 5);
    }
}
