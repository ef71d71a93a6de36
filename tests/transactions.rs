//! Transactions with commands that take latches themselves.
mod common;
use common::{Reply, Server};

/// `INFO` counts keys shard by shard, `UNWATCH` goes to the shards of the watched keys: a native transaction that had their
/// latches waited for itself.
#[test]
fn a_transaction_does_not_wait_for_itself() {
    let server = Server::start(&["--server-threads", "2"]);
    let mut c = server.client();
    c.cmd(&["SET", "k", "1"]).ok();
    for inner in [&["UNWATCH"][..], &["INFO", "keyspace"], &["INFO"], &["INFO", "everything"]] {
        c.cmd(&["WATCH", "k"]).ok();
        c.cmd(&["MULTI"]).ok();
        assert_eq!(c.cmd(&["GET", "k"]), Reply::Status("QUEUED".into()));
        assert_eq!(c.cmd(inner), Reply::Status("QUEUED".into()));
        let replies = c.cmd(&["EXEC"]);
        assert_eq!(replies.items()[0], Reply::Bulk("1".into()), "{inner:?}");
        assert!(!matches!(replies.items()[1], Reply::Error(_)), "{inner:?}: {replies:?}");
    }
}
