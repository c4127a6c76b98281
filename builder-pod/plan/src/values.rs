//! Values that are checked only once their variables are expanded: ports, signals and checksums.

/// Ports of one `EXPOSE` word as `PORT/PROTOCOL`: a range gives several, and what stands before the container's
/// port (`address:port:`) is checked and dropped, as BuildKit does.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn ports(word: &str) -> Result<Vec<String>, String> {
    let (before, container) = match word.rsplit_once(':') {
        Some((before, container)) => (Some(before), container),
        None => (None, word),
    };
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match protocol.to_lowercase().as_str() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        other => {
            return Err(format!(
                "the protocol {other:?} is none of tcp, udp and sctp"
            ));
        }
    };
    let (first, last) = port_range(range)?;
    if let Some(before) = before {
        let host = before.rsplit_once(':').map_or(before, |(_, port)| port);
        if !host.is_empty() {
            let (host_first, host_last) = port_range(host)?;
            if host_last - host_first != last - first && first != last {
                return Err(format!(
                    "the ranges {host} and {range} are not of one length"
                ));
            }
        }
        check_address(before.rsplit_once(':').map_or("", |(address, _)| address))?;
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

fn check_address(address: &str) -> Result<(), String> {
    let bare = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    if bare.is_empty() || bare.parse::<core::net::IpAddr>().is_ok() {
        Ok(())
    } else {
        Err(format!("{address:?} is no address"))
    }
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| format!("{text:?} is no port; ports are 0 to 65535"))
    };
    match text.split_once('-') {
        None => port(text).map(|port| (port, port)),
        Some((first, last)) => match (port(first)?, port(last)?) {
            (first, last) if first <= last => Ok((first, last)),
            _ => Err(format!("the range {text:?} ends before it begins")),
        },
    }
}

/// Names of Linux signals without `SIG`.
const SIGNALS: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Whether `STOPSIGNAL` may name it: a number but 0, or a name with or without `SIG`, in any case.
pub(crate) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let is_real_time = |name: &str| match name.strip_prefix("RTMIN") {
        Some("") => true,
        Some(offset) => is_offset(offset, '+', 15),
        None => match name.strip_prefix("RTMAX") {
            Some("") => true,
            Some(offset) => is_offset(offset, '-', 14),
            None => false,
        },
    };
    SIGNALS.contains(&name) || is_real_time(name)
}

fn is_offset(text: &str, sign: char, most: u8) -> bool {
    let digits = text.strip_prefix(sign).unwrap_or_default();
    let number = digits.parse::<u8>().ok();
    // A written form such as `+01` is no name.
    number.is_some_and(|number| (1..=most).contains(&number) && number.to_string() == digits)
}

/// Whether it is `algorithm:hex` of a known algorithm.
pub(crate) fn is_checksum(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    hex.len() == length && hex.chars().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_ranges_with_a_protocol() {
        for (word, expected) in [
            ("80", vec!["80/tcp"]),
            ("80/", vec!["80/tcp"]),
            ("53/UDP", vec!["53/udp"]),
            (
                "7000-7002/sctp",
                vec!["7000/sctp", "7001/sctp", "7002/sctp"],
            ),
            ("127.0.0.1:8080:80", vec!["80/tcp"]),
            ("[::1]:8080:80", vec!["80/tcp"]),
            ("::80", vec!["80/tcp"]),
            ("8000-9000:80", vec!["80/tcp"]),
        ] {
            assert_eq!(ports(word).unwrap(), expected, "{word}");
        }
        for wrong in [
            "",
            "x",
            "80/http",
            "65536",
            "-1",
            "9-8",
            "1-2:5-9",
            "host:1:80",
            "80:",
            "/tcp",
        ] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn signals_are_numbers_and_names() {
        for right in [
            "9",
            "SIGTERM",
            "sigterm",
            "TERM",
            "RTMIN",
            "SIGRTMIN+15",
            "RTMAX-14",
            "-1",
        ] {
            assert!(is_signal(right), "{right}");
        }
        for wrong in [
            "0", "", "SIGNOPE", "RTMIN+16", "RTMIN-1", "RTMAX-0", "RTMIN+01",
        ] {
            assert!(!is_signal(wrong), "{wrong}");
        }
    }

    #[test]
    fn checksums_have_the_length_of_their_algorithm() {
        let hex = "0123456789abcdef".repeat(8);
        for (algorithm, length) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
            assert!(is_checksum(&format!("{algorithm}:{}", &hex[..length])));
            assert!(!is_checksum(&format!("{algorithm}:{}", &hex[..length - 1])));
        }
        for wrong in [
            "",
            "sha256",
            "md5:00",
            &format!("sha256:{}", "A".repeat(64)),
        ] {
            assert!(!is_checksum(wrong), "{wrong}");
        }
    }
}
