//! Checks of single values beyond their type, with the reference's texts.

use super::enums::shutdown_on_sig::{NOSAVE, SAVE};
use super::text::c_str;

/// A check of a text value: the reason when it is refused.
pub type TextCheck = fn(&[u8]) -> Result<(), &'static str>;

/// Longest host name, with its closing zero.
const HOST_NAME_SIZE: usize = 256;

fn is_base_name(path: &[u8]) -> bool {
    !c_str(path).iter().any(|c| matches!(c, b'/' | b'\\'))
}

pub(super) fn dbfilename(value: &[u8]) -> Result<(), &'static str> {
    is_base_name(value).then_some(()).ok_or("dbfilename can't be a path, just a filename")
}

pub(super) fn appendfilename(value: &[u8]) -> Result<(), &'static str> {
    if c_str(value).is_empty() {
        return Err("appendfilename can't be empty");
    }
    is_base_name(value).then_some(()).ok_or("appendfilename can't be a path, just a filename")
}

pub(super) fn appenddirname(value: &[u8]) -> Result<(), &'static str> {
    if c_str(value).is_empty() {
        return Err("appenddirname can't be empty");
    }
    is_base_name(value).then_some(()).ok_or("appenddirname can't be a path, just a dirname")
}

pub(super) fn hostname(value: &[u8]) -> Result<(), &'static str> {
    let value = c_str(value);
    if value.len() >= HOST_NAME_SIZE {
        return Err("Hostnames must be less than 256 characters");
    }
    if value.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.')) {
        Ok(())
    } else {
        Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
    }
}

pub(super) fn nodename(value: &[u8]) -> Result<(), &'static str> {
    // The zero byte ends the list of bad characters in the reference's look-up, and is bad itself.
    if value.iter().any(|c| b"!#$%&()*+:;<>?@[]^{|}~\0".contains(c)) {
        Err("Announced human node name contained invalid character")
    } else {
        Ok(())
    }
}

/// Text with `{variable}` places; `{{` stands for a brace. At least one visible character must come out of it when the
/// title is empty.
pub(super) fn proc_title_template(value: &[u8]) -> Result<(), &'static str> {
    const BAD: &str = "template format is invalid or contains unknown variables";
    let mut rest = c_str(value);
    let mut visible = false;
    while let Some(open) = rest.iter().position(|&c| c == b'{') {
        visible |= rest[..open].iter().any(|&c| c != b' ');
        rest = &rest[open + 1..];
        if rest.first() == Some(&b'{') {
            visible = true;
            rest = &rest[1..];
            continue;
        }
        let close = rest.iter().position(|&c| c == b'}').ok_or(BAD)?;
        match &rest[..close] {
            b"listen-addr" | b"config-file" | b"port" | b"tls-port" => visible = true,
            b"title" | b"server-mode" | b"unixsocket" => {}
            _ => return Err(BAD),
        }
        rest = &rest[close + 1..];
    }
    visible |= rest.iter().any(|&c| c != b' ');
    visible.then_some(()).ok_or(BAD)
}

pub(super) fn shutdown_flags(value: i64) -> Result<(), &'static str> {
    if value & SAVE != 0 && value & NOSAVE != 0 {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for good in ["{title} {listen-addr} {server-mode}", "x", "{{", "{port}"] {
            assert!(proc_title_template(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", " ", "{title}", "{foo}", "{port", "a{"] {
            assert!(proc_title_template(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn file_and_host_names() {
        assert!(dbfilename(b"dump.rdb").is_ok());
        assert!(dbfilename(b"").is_ok());
        assert!(dbfilename(b"a/b").is_err());
        assert_eq!(appendfilename(b""), Err("appendfilename can't be empty"));
        assert!(appenddirname(b"a\\b").is_err());
        assert!(hostname(b"a-b.c").is_ok());
        assert!(hostname(b"a_b").is_err());
        assert!(hostname(&[b'a'; 256]).is_err());
        assert!(nodename(b"node 1").is_ok());
        assert!(nodename(b"node@1").is_err());
    }
}
