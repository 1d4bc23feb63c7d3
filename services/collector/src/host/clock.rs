//! Whether the node's clock is right, as the kernel's own clock discipline sees it.

use units::NodeMetric;

use super::Page;

const MICROS: f64 = 1e6;
const NANOS: f64 = 1e9;

/// Reads the discipline's state; where the kernel does not tell, nothing is told.
pub(super) fn read(page: &mut Page) {
    let Some(clock) = adjtimex() else {
        return;
    };
    let unit = if clock.status & libc::STA_NANO == 0 {
        MICROS
    } else {
        NANOS
    };
    page.put(
        NodeMetric::ClockOffset,
        &[],
        Some(clock.offset as f64 / unit),
    );
    let is_synchronised = clock.status & libc::STA_UNSYNC == 0;
    page.put(
        NodeMetric::ClockSynchronised,
        &[],
        Some(f64::from(u8::from(is_synchronised))),
    );
}

/// See adjtimex(2); with no mode set it only reads.
#[expect(unsafe_code, reason = "no kept crate offers the call")]
fn adjtimex() -> Option<libc::timex> {
    // SAFETY: the structure is numbers alone, for which zeros are valid; with modes 0 the kernel only writes to it, and it
    // lives until the call returns.
    let (result, clock) = unsafe {
        let mut clock: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut clock), clock)
    };
    (result >= 0).then_some(clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::NodeId;

    #[test]
    fn the_kernel_tells_of_its_clock() {
        let mut page = Page::new(NodeId::from("node-a"));
        read(&mut page);
        assert_eq!(page.points.len(), 2);
    }
}
