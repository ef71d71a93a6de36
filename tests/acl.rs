//! Users: what their rules promise to other connections, files, and the module `users` of modules-test.
mod common;
use common::{fresh_dir, own_modules, Client, Reply, Server};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const NO_GET: &str = "NOPERM User u has no permissions to run the 'get' command";

fn error(text: &str) -> Reply {
    Reply::Error(text.into())
}

fn login(s: &Server, name: &str) -> Client {
    let mut c = s.client();
    c.cmd(&["AUTH", name, "x"]).ok();
    c
}

/// When `ACL SETUSER` has answered, no command is answered under the old rules, wherever it runs.
#[test]
fn rights_are_gone_when_the_change_is_answered() {
    let s = Server::start(&["--server-threads", "3"]);
    let mut admin = s.client();
    admin.cmd(&["ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*", "&*"]).ok();
    let mut clients: Vec<Client> = (0..6).map(|_| login(&s, "u")).collect();
    for round in 0..50 {
        for c in &mut clients {
            assert_eq!(c.cmd(&["GET", "k"]), Reply::Nil, "round {round}");
        }
        admin.cmd(&["ACL", "SETUSER", "u", "-get"]).ok();
        for c in &mut clients {
            assert_eq!(c.cmd(&["GET", "k"]), error(NO_GET), "round {round}");
        }
        admin.cmd(&["ACL", "SETUSER", "u", "+get"]).ok();
    }
}

/// A client that subscribes while its right to is taken away is refused or ended: never subscribed and left alone. There
/// are many channels to check, so that changes fall between the check and the subscription.
#[test]
fn no_subscription_slips_through_a_change() {
    let s = Server::start(&["--server-threads", "3"]);
    let stop = AtomicBool::new(false);
    let channels: Vec<String> = (0..3000).map(|i| format!("c{i}")).collect();
    let words = ["SUBSCRIBE"].into_iter().chain(channels.iter().map(String::as_str));
    let words: Vec<&str> = words.collect();
    std::thread::scope(|scope| {
        let (s, stop, words) = (&s, &stop, &words);
        let mut admin = s.client();
        admin.cmd(&["ACL", "SETUSER", "u", "on", "nopass", "+@all", "&c*"]).ok();
        for _ in 0..3 {
            scope.spawn(move || {
                while !stop.load(SeqCst) {
                    let mut c = login(s, "u");
                    // It may be ended at any moment.
                    if c.try_send(words) {
                        c.try_send(&["QUIT"]);
                    }
                    c.rest();
                }
            });
        }
        let left = (0..80).find_map(|round| {
            admin.cmd(&["ACL", "SETUSER", "u", "resetchannels"]).ok();
            let who = admin.cmd(&["CLIENT", "LIST"]);
            admin.cmd(&["ACL", "SETUSER", "u", "&c*"]).ok();
            // Those that were ended are not listed, those that come now are refused.
            let subscribed = |l: &&str| l.contains(" user=u ") && !l.contains(" sub=0 ");
            who.text().lines().find(subscribed).map(|l| format!("round {round}: {l}"))
        });
        stop.store(true, SeqCst);
        assert_eq!(left, None);
    });
}

#[test]
fn clients_of_a_deleted_user_are_ended_wherever_they_are() {
    let mut s = Server::start(&[]);
    let mut admin = s.client();
    admin.cmd(&["ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*", "&*"]).ok();
    let (mut idle, mut waiting, mut subscribed) = (login(&s, "u"), login(&s, "u"), login(&s, "u"));
    waiting.send(&["BLPOP", "list", "0"]);
    subscribed.cmd(&["SUBSCRIBE", "c"]);
    while common::info(&mut admin, "clients", "blocked_clients") != "1" {}
    assert_eq!(admin.cmd(&["ACL", "DELUSER", "u", "nobody"]), Reply::Int(1));
    assert_eq!(idle.rest(), "");
    assert_eq!(waiting.rest(), "");
    assert_eq!(subscribed.rest(), "");
    assert_eq!(admin.cmd(&["RPUSH", "list", "a"]), Reply::Int(1));
    assert_eq!(admin.cmd(&["LLEN", "list"]), Reply::Int(1), "nobody was served");
    assert_eq!(s.client().cmd(&["AUTH", "u", "x"]).text().split(' ').next(), Some("WRONGPASS"));
    s.assert_alive();
}

#[test]
fn users_in_a_file() {
    let dir = fresh_dir("acl");
    let file = dir.join("users.acl");
    std::fs::write(&file, "user a on nopass +@all ~a*\n\nuser default on nopass ~* &* +@all\n")
        .unwrap();
    let s = Server::start_in(dir, &["--aclfile", file.to_str().unwrap()]);
    let mut c = s.client();
    let a = "user a on nopass sanitize-payload ~a* resetchannels +@all";
    let default = "user default on nopass sanitize-payload ~* &* +@all";
    let list = |c: &mut Client| {
        let reply = c.cmd(&["ACL", "LIST"]);
        reply.items().iter().map(|l| l.text().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(&mut c), [a, default]);
    c.cmd(&["ACL", "SETUSER", "b", ">pw"]).ok();
    c.cmd(&["ACL", "SAVE"]).ok();
    let b = "user b off sanitize-payload #30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4 \
             resetchannels -@all";
    let saved = std::fs::read_to_string(&file).unwrap();
    assert_eq!(saved.lines().collect::<Vec<_>>(), [a, b, default]);
    // A client stays while its user's name does.
    let (mut stays, mut goes) = (login(&s, "a"), s.client());
    c.cmd(&["ACL", "SETUSER", "b", "on", "nopass"]).ok();
    goes.cmd(&["AUTH", "b", "x"]).ok();
    std::fs::write(&file, "user a on nopass +get ~b*\n").unwrap();
    c.cmd(&["ACL", "LOAD"]).ok();
    assert_eq!(goes.rest(), "");
    assert_eq!(stays.cmd(&["GET", "b1"]), Reply::Nil);
    assert_eq!(stays.cmd(&["GET", "a1"]), error("NOPERM No permissions to access a key"));
    let now = ["user a on nopass sanitize-payload ~b* resetchannels -@all +get", default];
    assert_eq!(list(&mut c), now);
    // A file with an error changes nothing.
    std::fs::write(&file, "user z on\nuser a nonsense\n").unwrap();
    let refused = format!(
        "ERR {}:2: Syntax error. WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
        file.display()
    );
    assert_eq!(c.cmd(&["ACL", "LOAD"]), error(&refused));
    assert_eq!(list(&mut c), now);
    let (code, log) = Server::run_to_end(&["--aclfile", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(log.contains("Aborting Redis startup because of ACL errors"), "{log}");
}

#[test]
fn users_in_the_configuration() {
    let dir = fresh_dir("acl");
    let conf = dir.join("redis.conf");
    std::fs::write(
        &conf,
        "user u on nopass +@all -get ( +get ~r* )\nuser default on >pw ~* +@all\n",
    )
    .unwrap();
    // The common start asks without a password, so this one answers `NOAUTH` and is alive all the same.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = std::fs::read_to_string(&conf).unwrap();
    let own = format!("{text}port {port}\nbind 127.0.0.1\nsave \"\"\ndir {}\n", dir.display());
    std::fs::write(&conf, own).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_backplane"))
        .arg(&conf)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let stream = loop {
        match std::net::TcpStream::connect(("127.0.0.1", port)) {
            Ok(s) => break s,
            Err(_) => assert!(child.try_wait().unwrap().is_none(), "the server ended"),
        }
    };
    let mut c = Client::on(stream);
    assert_eq!(c.cmd(&["GET", "x"]), error("NOAUTH Authentication required."));
    c.cmd(&["AUTH", "pw"]).ok();
    c.cmd(&["ACL", "SETUSER", "v", "on"]).ok();
    c.cmd(&["CONFIG", "REWRITE"]).ok();
    let written = std::fs::read_to_string(&conf).unwrap();
    let users: Vec<&str> = written.lines().filter(|l| l.starts_with("user ")).collect();
    assert_eq!(users.len(), 3, "{written}");
    let u =
        "user u on nopass sanitize-payload resetchannels +@all -get (~r* resetchannels -@all +get)";
    assert!(
        users.contains(&u) && users.contains(&"user v on sanitize-payload resetchannels -@all")
    );
    child.kill().unwrap();
    child.wait().unwrap();
    for (line, reason) in [
        ("user u on\nuser u off", "Error in user declaration 'u': Duplicate user found."),
        ("user u on bad", "Error in user declaration 'u': Syntax error"),
    ] {
        std::fs::write(&conf, line).unwrap();
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_backplane"))
            .arg(&conf)
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(1) && err.contains(reason), "{err}");
    }
}

fn with_users(s: &Server) -> Client {
    let mut c = s.client();
    c.cmd(&["MODULE", "LOAD", &own_modules().join("users.so").display().to_string()]).ok();
    c.cmd(&["ACL", "SETUSER", "guest", "on", ">pw", "~g*", "+@all"]).ok();
    c
}

#[test]
fn modules_authenticate_clients() {
    let mut s = Server::start(&[]);
    let mut admin = with_users(&s);
    let whoami = |c: &mut Client| c.cmd(&["ACL", "WHOAMI"]).text().to_string();
    let mut c = s.client();
    c.cmd(&["AUTH", "guest", "now"]).ok();
    assert_eq!(whoami(&mut c), "guest");
    assert_eq!(c.cmd(&["GET", "z"]), error("NOPERM No permissions to access a key"));
    // From a thread; what follows in the pipeline waits for it.
    let mut c = s.client();
    c.send(&["AUTH", "guest", "later"]);
    c.send(&["ACL", "WHOAMI"]);
    c.read().ok();
    assert_eq!(c.read().text(), "guest");
    assert_eq!(c.cmd(&["AUTH", "guest", "no"]), error("ERR not you"));
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(c.cmd(&["AUTH", "guest", "never"]), error(wrong));
    assert_eq!(c.cmd(&["AUTH", "guest", "pass"]), error(wrong));
    // A client that goes while the module thinks.
    let mut gone = s.client();
    gone.send(&["AUTH", "guest", "later"]);
    drop(gone);
    // In a transaction nobody can be blocked.
    c.cmd(&["MULTI"]).ok();
    c.send(&["AUTH", "guest", "later"]);
    assert_eq!(c.read(), Reply::Status("QUEUED".into()));
    let refused = error("ERR Blocking module command called from transaction");
    assert_eq!(c.cmd(&["EXEC"]), Reply::Array(vec![refused]));
    // The module's thread still has the block of the client that went.
    let unloaded = loop {
        let reply = admin.cmd(&["MODULE", "UNLOAD", "users"]);
        if !matches!(&reply, Reply::Error(e) if e.contains("blocked clients")) {
            break reply;
        }
    };
    unloaded.ok();
    let mut c = s.client();
    assert_eq!(c.cmd(&["AUTH", "guest", "now"]), error(wrong));
    s.assert_alive();
}

#[test]
fn modules_follow_the_clients_of_their_users() {
    let mut s = Server::start(&[]);
    let mut admin = with_users(&s);
    admin.cmd(&["USERS.MAKE", "m"]).ok();
    admin.cmd(&["USERS.RULES", "on +@all ~m*"]).ok();
    let changes = |c: &mut Client| c.cmd(&["USERS.CHANGES"]).items()[0].int();
    let mut c = s.client();
    assert_eq!(c.cmd(&["USERS.BECOME"]), Reply::Int(1));
    assert_eq!(c.cmd(&["ACL", "WHOAMI"]).text(), "m");
    assert_eq!(c.cmd(&["GET", "z"]), error("NOPERM No permissions to access a key"));
    c.cmd(&["AUTH", "default", "x"]).ok();
    assert_eq!(changes(&mut admin), 1);
    c.cmd(&["AUTH", "default", "x"]).ok();
    assert_eq!(changes(&mut admin), 1, "told once");
    c.cmd(&["USERS.BECOME"]);
    drop(c);
    while changes(&mut admin) != 2 {}
    // The module's user ends: its client gets its answer, and the end.
    let mut c = s.client();
    c.cmd(&["USERS.BECOME"]);
    c.cmd(&["USERS.FREE"]).ok();
    assert_eq!(c.rest(), "");
    while changes(&mut admin) != 3 {}
    // The module goes: so do the clients that it follows.
    let mut c = s.client();
    c.cmd(&["USERS.LOGIN", "guest"]).ok();
    admin.cmd(&["MODULE", "UNLOAD", "users"]).ok();
    assert_eq!(c.rest(), "");
    s.assert_alive();
}
