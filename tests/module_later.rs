//! Functions of the module API that came after Redis 7.4: served here, absent on the reference.
mod common;
use common::{own_modules, Reply, Server};

#[test]
fn functions_of_later_servers() {
    let path = own_modules().join("later.so").display().to_string();
    let s = Server::start(&[]);
    let c = &mut s.client();
    // The value of the load comes after the default.
    c.cmd(&["MODULE", "LOADEX", &path, "CONFIG", "later.number", "7"]).ok();
    assert_eq!(c.cmd(&["later.defaults"]), Reply::Int(42));
    assert_eq!(c.cmd(&["CONFIG", "GET", "later.number"]).items()[1].text(), "7");

    // The last is the check value of this CRC.
    for (key, slot) in [("foo", 12182), ("{foo}.x", 12182), ("", 0), ("123456789", 0x31c3)] {
        assert_eq!(c.cmd(&["later.slot", key]), Reply::Int(slot), "{key}");
    }

    c.cmd(&["HSET", "h", "a", "1", "b", "2", "c", "3"]);
    for key in ["h", "none"] {
        assert_eq!(c.cmd(&["later.soonest", key]), Reply::Int(-1), "{key}");
    }
    c.cmd(&["HPEXPIREAT", "h", "4102444800000", "FIELDS", "1", "a"]);
    c.cmd(&["HPEXPIREAT", "h", "4102444700000", "FIELDS", "1", "b"]);
    assert_eq!(c.cmd(&["later.soonest", "h"]), Reply::Int(4_102_444_700_000));
    // As a table, not packed.
    c.cmd(&["HSET", "h", "d", &"x".repeat(100)]);
    assert_eq!(c.cmd(&["OBJECT", "ENCODING", "h"]).text(), "hashtable");
    assert_eq!(c.cmd(&["later.soonest", "h"]), Reply::Int(4_102_444_700_000));

    let before = c.cmd(&["later.seen"]).int();
    assert!(before >= 4, "{before}");
    assert_eq!(c.cmd(&["later.deaf"]), Reply::Int(1));
    assert_eq!(c.cmd(&["later.deaf"]), Reply::Int(0));
    c.cmd(&["HSET", "h", "e", "1"]);
    assert_eq!(c.cmd(&["later.seen"]), Reply::Int(before));
}

#[test]
fn the_reference_does_not_have_them() {
    let path = own_modules().join("later.so").display().to_string();
    let s = Server::reference(&["--loadmodule", &path]);
    let c = &mut s.client();
    for command in
        [&["later.defaults"][..], &["later.slot", "a"], &["later.soonest", "h"], &["later.deaf"]]
    {
        assert_eq!(c.cmd(command), Reply::Nil, "{command:?}");
    }
}

/// A persona of Redis 7.4 takes them away again.
#[test]
fn a_persona_hides_them() {
    let path = own_modules().join("later.so").display().to_string();
    let s = Server::start(&["--module-persona", "later", "redis-7.4.1", "--loadmodule", &path]);
    let c = &mut s.client();
    assert_eq!(c.cmd(&["later.slot", "a"]), Reply::Nil);
}
