//! The machine itself: boot, load, memory, clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use drover::model::Memory;

use super::sections::{Malformed, Section};

/// The id the kernel made for this boot.
pub(crate) fn boot_id(section: &Section<'_>) -> Result<String, Malformed> {
    let line = section.line()?;
    let shape = line.len() == 36 && line.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if shape {
        Ok(line.to_owned())
    } else {
        Err(section.malformed("no boot id"))
    }
}

/// Seconds since boot.
pub(crate) fn uptime(section: &Section<'_>) -> Result<f64, Malformed> {
    let first = section
        .line()?
        .split_ascii_whitespace()
        .next()
        .unwrap_or_default();
    figure(first).ok_or_else(|| section.malformed("no seconds since boot"))
}

/// Averages over 1, 5 and 15 minutes.
pub(crate) fn load(section: &Section<'_>) -> Result<[f64; 3], Malformed> {
    let mut words = section.line()?.split_ascii_whitespace().map(figure);
    match (
        words.next().flatten(),
        words.next().flatten(),
        words.next().flatten(),
    ) {
        (Some(one), Some(five), Some(fifteen)) => Ok([one, five, fifteen]),
        _ => Err(section.malformed("no load averages")),
    }
}

/// Lines of `/proc/meminfo`.
pub(crate) fn memory(section: &Section<'_>) -> Result<Memory, Malformed> {
    let read = |name: &str| {
        let line = section
            .text
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        let figure = line?.trim().strip_suffix(" kB")?.trim();
        figure.parse::<u64>().ok()?.checked_mul(1024)
    };
    let (Some(total), Some(available)) = (read("MemTotal"), read("MemAvailable")) else {
        return Err(section.malformed("no MemTotal and MemAvailable"));
    };
    Ok(Memory {
        total: Some(total),
        available: Some(available),
        swap_total: Some(read("SwapTotal").unwrap_or(0)),
        swap_free: Some(read("SwapFree").unwrap_or(0)),
    })
}

/// How far the server's clock is ahead of ours, in milliseconds: its clock was
/// read between the two moments, on average in their middle.
pub(crate) fn skew_ms(
    section: &Section<'_>,
    sent: SystemTime,
    answered: SystemTime,
) -> Result<f64, Malformed> {
    let line = section.line()?;
    // A clock without nanoseconds writes `%N` as it is, or nothing.
    let (seconds, nanos) = line.split_once('.').unwrap_or((line, "0"));
    let seconds: u64 = seconds.parse().map_err(|_| section.malformed("no time"))?;
    let nanos: u32 = nanos
        .parse()
        .ok()
        .filter(|n| *n < 1_000_000_000)
        .unwrap_or(0);
    let ours = sent + answered.duration_since(sent).unwrap_or_default() / 2;
    let ours = ours.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ahead = Duration::new(seconds, nanos).as_secs_f64() - ours.as_secs_f64();
    Ok((ahead * 10_000.0).round() / 10.0)
}

fn figure(word: &str) -> Option<f64> {
    word.parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section<'_> {
        Section {
            name: "test",
            status: 0,
            text,
        }
    }

    #[test]
    fn what_linux_writes_is_read() {
        let id = "9df46154-a6fc-4739-98ea-196aed7a962d";
        assert_eq!(boot_id(&section(id)), Ok(id.into()));
        assert_eq!(uptime(&section("1743.51 3412.07")), Ok(1743.51));
        assert_eq!(
            load(&section("0.02 0.21 0.32 1/131 4711")),
            Ok([0.02, 0.21, 0.32])
        );
        let memory = memory(&section(
            "MemTotal:  2048 kB\nMemAvailable: 1024 kB\nSwapFree: 1 kB",
        ));
        let memory = memory.unwrap();
        assert_eq!(
            (memory.total, memory.available, memory.swap_free),
            (Some(2 << 20), Some(1 << 20), Some(1024))
        );
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(boot_id(&section("0000")).is_err());
        assert!(uptime(&section("NaN 1")).is_err());
        assert!(load(&section("0.02 inf 0.32")).is_err());
        assert!(memory(&section("MemTotal: 99999999999999999999 kB")).is_err());
        assert!(skew_ms(&section("yesterday"), UNIX_EPOCH, UNIX_EPOCH).is_err());
    }

    #[test]
    fn the_clock_is_held_against_the_middle_of_the_round_trip() {
        let sent = UNIX_EPOCH + Duration::from_secs(1000);
        let answered = sent + Duration::from_millis(200);
        let skew = |text| skew_ms(&section(text), sent, answered);
        assert_eq!(skew("1000.100000000"), Ok(0.0));
        assert_eq!(skew("1003.100000000"), Ok(3000.0));
        assert_eq!(skew("999.600000000"), Ok(-500.0));
        assert_eq!(skew("1000.%N"), Ok(-100.0));
    }
}
