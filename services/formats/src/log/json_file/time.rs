//! Times as the engine writes them: RFC 3339 with up to nine digits behind the point, mostly in UTC.

const NS_PER_SECOND: i64 = 1_000_000_000;

/// Nanoseconds since 1970 of `2026-01-02T03:04:05.678901234Z`. The digits behind the point may be fewer or none, and an offset
/// `+01:00` may stand for the `Z`. `None` for all else, and for times outside the years 1678 to 2261.
pub(super) fn unix_ns(text: &[u8]) -> Option<i64> {
    let (whole, rest) = text.split_first_chunk::<19>()?;
    let [
        _,
        _,
        _,
        _,
        b'-',
        _,
        _,
        b'-',
        _,
        _,
        b'T',
        _,
        _,
        b':',
        _,
        _,
        b':',
        _,
        _,
    ] = whole
    else {
        return None;
    };
    let year = two(whole, 0)? * 100 + two(whole, 2)?;
    let (month, day) = (two(whole, 5)?, two(whole, 8)?);
    let (hour, minute, second) = (two(whole, 11)?, two(whole, 14)?, two(whole, 17)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    // A leap second is the first of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_ns, zone) = fraction(rest)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    (seconds - offset_seconds(zone)?)
        .checked_mul(NS_PER_SECOND)?
        .checked_add(fraction_ns)
}

/// `.678901234`, or nothing.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let (mut ns, mut unit, mut len) = (0, NS_PER_SECOND, 0);
    while let Some(digit @ b'0'..=b'9') = rest.get(len) {
        // The tenth digit finds a unit of zero.
        unit /= 10;
        if unit == 0 {
            return None;
        }
        ns += i64::from(digit - b'0') * unit;
        len += 1;
    }
    (len > 0).then(|| (ns, &rest[len..]))
}

fn offset_seconds(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (two(zone, 1)?, two(zone, 4)?);
            let seconds = hours * 3_600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn two(text: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970 in the Gregorian calendar. Years are taken to begin in March, so that the leap day comes last; the months
/// from then on have 153 days in five.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_in_the_wild() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            (
                "2026-01-02T03:04:05.678901234Z",
                Some(1_767_323_045_678_901_234),
            ),
            ("2026-01-02T03:04:05.6Z", Some(1_767_323_045_600_000_000)),
            (
                "2026-01-02T04:04:05.6+01:00",
                Some(1_767_323_045_600_000_000),
            ),
            (
                "2026-01-01T21:34:05.6-05:30",
                Some(1_767_323_045_600_000_000),
            ),
            ("2000-02-29T23:59:60Z", Some(951_868_800_000_000_000)),
            ("1969-12-31T23:59:59.5Z", Some(-500_000_000)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-00-01T00:00:00Z", None),
            ("2026-01-02T24:00:00Z", None),
            ("2026-01-02T03:04:05", None),
            ("2026-01-02T03:04:05.Z", None),
            ("2026-01-02T03:04:05.1234567890Z", None),
            ("2026-01-02 03:04:05Z", None),
            ("2026-01-02T03:04:05ZZ", None),
            ("2026-01-02T0é:04:05Z", None),
            ("9999-01-02T03:04:05Z", None),
            ("", None),
        ] {
            assert_eq!(unix_ns(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut expected = days(1678, 1, 1);
        for year in 1678..2262 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!(days(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.Z0-9:+-]{0,12}") {
            unix_ns(text.as_bytes());
        }
    }
}
