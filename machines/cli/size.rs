//! Sizes and times as people write them.

/// Bytes: `512M`, `10G`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'K')) => (&text[..at], 1 << 10),
        Some((at, 'M')) => (&text[..at], 1 << 20),
        Some((at, 'G')) => (&text[..at], 1 << 30),
        Some((at, 'T')) => (&text[..at], 1 << 40),
        _ => (text, 1),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "a size is a number with K, M, G or T after it".into())
}

/// Seconds: `+1h`, `-90s`, `0`.
pub(super) fn offset(text: &str) -> Result<i64, String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let time = match rest {
        "0" => std::time::Duration::ZERO,
        rest => humantime::parse_duration(rest).map_err(|error| error.to_string())?,
    };
    i64::try_from(time.as_secs())
        .map(|seconds| sign * seconds)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_offsets() {
        assert_eq!(size("10G"), Ok(10 << 30));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("G").is_err() && size("1 G").is_err() && size("99999999999T").is_err());
        assert_eq!(offset("+1h"), Ok(3600));
        assert_eq!(offset("-90s"), Ok(-90));
        assert_eq!(offset("0"), Ok(0));
        assert!(offset("soon").is_err());
    }
}
