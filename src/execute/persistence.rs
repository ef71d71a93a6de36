//! `SAVE`, `BGSAVE`, `LASTSAVE`, `SHUTDOWN`.
use super::error::{err, SYNTAX};
use super::{is, CommandError, CommandResult, Mode, Tx};
use crate::config::enums::shutdown_on_sig as how;
use crate::dispatch::table::{flags, PathRule, Row};
use crate::persist::rewrite::{self, Begun};
use crate::reply::Reply;
use crate::snapshot::{self, control};
use std::sync::atomic::Ordering::Relaxed;

const IN_PROGRESS: &str = "ERR Background save already in progress";
const ANOTHER: &str =
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE \
     whenever possible.";

/// `SAVE`
fn save(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    if control::saves(tx.server) {
        return Err(err(IN_PROGRESS));
    }
    tx.server.persistence.saves.fetch_add(1, Relaxed);
    snapshot::save(tx.server).map_err(|_| err("ERR"))?;
    out.ok();
    Ok(())
}

/// `BGSAVE [SCHEDULE]`
fn bgsave(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    if args.len() > 1 && !(args.len() == 2 && is(args[1], "schedule")) {
        return Err(SYNTAX);
    }
    let scheduled = args.len() == 2;
    if control::saves(tx.server) {
        return Err(err(IN_PROGRESS));
    }
    // The cut is taken between two commands: inside of a transaction it comes later.
    if tx.session.deny_blocking || snapshot::running() {
        if !scheduled && !tx.session.deny_blocking {
            return Err(err(ANOTHER));
        }
        control::schedule_background_save(tx.server);
        out.simple("Background saving scheduled");
        return Ok(());
    }
    if !control::background_save(tx.server) {
        return Err(err(ANOTHER));
    }
    out.simple("Background saving started");
    Ok(())
}

/// `BGREWRITEAOF`
fn bgrewriteaof(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.simple(match rewrite::ask(tx.server, tx.session.deny_blocking) {
        Begun::Started => "Background append only file rewriting started",
        Begun::Scheduled => "Background append only file rewriting scheduled",
        Begun::Running => {
            return Err(err("ERR Background append only file rewriting already in progress"));
        }
        Begun::Failed => {
            return Err(err(
                "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.",
            ));
        }
    });
    Ok(())
}

/// `LASTSAVE`
fn lastsave(tx: &mut Tx<'_>, _: &[&[u8]], out: &mut Reply) -> CommandResult {
    out.int(tx.server.persistence.last_save.load(Relaxed));
    Ok(())
}

/// What the arguments of a `SHUTDOWN` ask for: bits of [`how`], or the end of one that waits.
enum Wish {
    How(i64),
    Abort,
}

fn wish(args: &[&[u8]]) -> Result<Wish, CommandError> {
    let (mut bits, mut abort) = (0, false);
    for a in &args[1..] {
        match () {
            () if is(a, "nosave") => bits |= how::NOSAVE,
            () if is(a, "save") => bits |= how::SAVE,
            () if is(a, "now") => bits |= how::NOW,
            () if is(a, "force") => bits |= how::FORCE,
            () if is(a, "abort") => abort = true,
            () => return Err(SYNTAX),
        }
    }
    match abort {
        _ if bits & how::NOSAVE != 0 && bits & how::SAVE != 0 => Err(SYNTAX),
        true if bits != 0 => Err(SYNTAX),
        true => Ok(Wish::Abort),
        false => Ok(Wish::How(bits)),
    }
}

/// Whether a `SHUTDOWN` goes to the module thread. A busy script there does not stand in the way of `NOSAVE`; without that
/// it is refused, as by a busy module.
pub fn shutdown_needs_module_lock(args: &[&[u8]]) -> bool {
    match wish(args) {
        Ok(Wish::How(bits)) if bits & how::NOSAVE != 0 => {
            crate::script::run::ask_to_shut_down();
            true
        }
        Ok(Wish::How(_)) => busy().is_ok(),
        Ok(Wish::Abort) | Err(_) => false,
    }
}

fn busy() -> CommandResult {
    crate::script::run::check_not_busy()?;
    match crate::module::busy::on() {
        true => Err(err(crate::module::busy::error_text())),
        false => Ok(()),
    }
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]`
fn shutdown(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let Wish::How(bits) = wish(args)? else {
        if !crate::start::signals::call_off(tx.server) {
            return Err(err("ERR No shutdown in progress."));
        }
        out.ok();
        return Ok(());
    };
    if bits & how::NOW == 0 && tx.session.deny_blocking {
        return Err(err(
            "ERR SHUTDOWN without NOW or ABORT isn't allowed for DENY BLOCKING client",
        ));
    }
    if tx.mode() == Mode::Native {
        // It was busy when this was looked at first.
        return busy().and_then(|()| Err(err(crate::module::busy::error_text())));
    }
    if bits & how::NOSAVE == 0 && crate::module::busy::amid_unit(tx.server) {
        // The file would have half of what the module does.
        return Err(err(crate::module::busy::error_text()));
    }
    crate::start::shutdown(tx.server, bits);
    // Still here: the save failed.
    Err(err("ERR Errors trying to SHUTDOWN. Check logs."))
}

/// The family's commands.
pub static ROWS: &[Row] = &[
    Row {
        path: PathRule::ServerWide,
        group: "server",
        summary: "Writes all data into a file before it answers.",
        ..Row::new(
            "save",
            1,
            flags::NO_ASYNC_LOADING | flags::ADMIN | flags::NOSCRIPT | flags::NO_MULTI,
            save,
        )
    },
    Row {
        path: PathRule::ServerWide,
        group: "server",
        summary: "Writes all data into a file after it has answered.",
        ..Row::new("bgsave", -1, flags::NO_ASYNC_LOADING | flags::ADMIN | flags::NOSCRIPT, bgsave)
    },
    Row {
        path: PathRule::ServerWide,
        group: "server",
        summary: "Writes the append-only file anew, as short as it can be.",
        ..Row::new(
            "bgrewriteaof",
            1,
            flags::NO_ASYNC_LOADING | flags::ADMIN | flags::NOSCRIPT,
            bgrewriteaof,
        )
    },
    Row {
        path: PathRule::Connection,
        acl: &["admin", "dangerous"],
        group: "server",
        summary: "Returns the Unix time of the last successful save.",
        ..Row::new("lastsave", 1, flags::LOADING | flags::STALE | flags::FAST, lastsave)
    },
    Row {
        path: PathRule::Connection,
        group: "server",
        summary: "Saves the data if that is configured, and ends the server.",
        ..Row::new(
            "shutdown",
            -1,
            flags::ADMIN
                | flags::NOSCRIPT
                | flags::LOADING
                | flags::STALE
                | flags::NO_MULTI
                | flags::ALLOW_BUSY
                | flags::ARGS_DECIDE,
            shutdown,
        )
    },
];
