//! Places in sorted sets.
use super::collection::{bulk_item, row, spec, store, zset_limits};
use super::error::{err, NOT_FLOAT, SYNTAX};
use super::zset::{zadd, READS, WRITES};
use super::{int, is, partial_sort, text, CommandError, CommandResult, Tx};
use crate::dispatch::table::{flags, key, keys, Begin, Find, KeySpec, Row};
use crate::keyspace::event;
use crate::keyspace::geohash::{self, Place, Shape};
use crate::keyspace::listpack::LpItem;
use crate::keyspace::number::{parse_f64, NumBuf};
use crate::keyspace::value::Value;
use crate::keyspace::zset::{ScoreRange, SortedSet, ZsetLimits};
use crate::reply::Reply;
use std::borrow::Cow;

/// A longitude and a latitude.
fn place_argument(args: &[&[u8]]) -> Result<Place, CommandError> {
    let place = (parse_f64(args[0]).ok_or(NOT_FLOAT)?, parse_f64(args[1]).ok_or(NOT_FLOAT)?);
    if !geohash::is_valid(place) {
        return Err(err(format!(
            "ERR invalid longitude,latitude pair {:.6},{:.6}",
            place.0, place.1
        )));
    }
    Ok(place)
}

/// Metres of a unit.
fn unit(arg: &[u8]) -> Result<f64, CommandError> {
    match arg {
        a if is(a, "m") => Ok(1.0),
        a if is(a, "km") => Ok(1000.0),
        a if is(a, "ft") => Ok(0.3048),
        a if is(a, "mi") => Ok(1609.34),
        _ => Err(err("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// A shape, and the metres of the unit that it is given in.
type Scaled = (Shape, f64);

/// A radius and its unit.
fn circle(args: &[&[u8]]) -> Result<Scaled, CommandError> {
    let radius = parse_f64(args[0]).ok_or(err("ERR need numeric radius"))?;
    if radius < 0.0 {
        return Err(err("ERR radius cannot be negative"));
    }
    let metres = unit(args[1])?;
    Ok((Shape::Circle(radius * metres), metres))
}

/// A width, a height and their unit.
fn rectangle(args: &[&[u8]]) -> Result<Scaled, CommandError> {
    let width = parse_f64(args[0]).ok_or(err("ERR need numeric width"))?;
    let height = parse_f64(args[1]).ok_or(err("ERR need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(err("ERR height or width cannot be negative"));
    }
    let metres = unit(args[2])?;
    Ok((Shape::Box(width * metres, height * metres), metres))
}

/// The place of a member that has to be there.
fn member_place(set: &SortedSet, member: &[u8]) -> Result<Place, CommandError> {
    let score = set.score(member).ok_or(err("ERR could not decode requested zset member"))?;
    Ok(geohash::place(score))
}

/// `GEOADD key [NX|XX] [CH] longitude latitude member ...`
fn geoadd(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let option = |a: &&&[u8]| is(a, "nx") || is(a, "xx") || is(a, "ch");
    let at = 2 + args[2..].iter().take_while(option).count();
    let has = |word: &str| args[2..at].iter().any(|a| is(a, word));
    if (args.len() - at) % 3 != 0 || (has("nx") && has("xx")) {
        return Err(SYNTAX);
    }
    let mut scores = Vec::with_capacity(args.len() / 3);
    for p in args[at..].chunks_exact(3) {
        let score = geohash::score(place_argument(p)?) as u64;
        scores.push(score.to_string().into_bytes());
    }
    let mut command: Vec<&[u8]> = vec![b"ZADD"];
    command.extend(&args[1..at]);
    for (score, p) in scores.iter().zip(args[at..].chunks_exact(3)) {
        command.extend([score.as_slice(), p[2]]);
    }
    tx.propagate_as(&command);
    zadd(tx, &command, out)
}

/// A coordinate as `%.17Lf` without trailing zeros.
fn coordinate(out: &mut Reply, degrees: f64) {
    let fixed = format!("{degrees:.17}");
    let trimmed = fixed.trim_end_matches('0').trim_end_matches('.');
    let trimmed = if trimmed == "-0" { "0" } else { trimmed };
    match out.resp3 {
        true => out.raw(format!(",{trimmed}\r\n").as_bytes()),
        false => out.bulk_str(trimmed),
    }
}

fn coordinates(out: &mut Reply, place: Place) {
    out.array(2);
    coordinate(out, place.0);
    coordinate(out, place.1);
}

/// A distance with four digits behind the point.
fn bulk_distance(out: &mut Reply, distance: f64) {
    let scaled = (distance * 10_000.0).round_ties_even() as i64;
    let (sign, n) = (if scaled < 0 { "-" } else { "" }, scaled.unsigned_abs());
    out.bulk_str(&format!("{sign}{}.{:04}", n / 10_000, n % 10_000));
}

/// `GEOPOS key member ...`
fn geopos(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let set = tx.zset(args[1])?;
    out.array(args.len() - 2);
    for m in &args[2..] {
        match set.and_then(|s| s.score(m)) {
            Some(score) => coordinates(out, geohash::place(score)),
            None => out.null_array(),
        }
    }
    Ok(())
}

/// `GEOHASH key member ...`
fn geohash(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let set = tx.zset(args[1])?;
    out.array(args.len() - 2);
    for m in &args[2..] {
        match set.and_then(|s| s.score(m)) {
            Some(score) => out.bulk(&geohash::text(geohash::place(score))),
            None => out.null(),
        }
    }
    Ok(())
}

/// `GEODIST key member1 member2 [M|KM|FT|MI]`
fn geodist(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let metres = match args.len() {
        4 => 1.0,
        5 => unit(args[4])?,
        _ => return Err(SYNTAX),
    };
    let set = tx.zset(args[1])?;
    let place = |m: &[u8]| set.and_then(|s| s.score(m)).map(geohash::place);
    match (place(args[2]), place(args[3])) {
        (Some(a), Some(b)) => bulk_distance(out, geohash::distance(a, b) / metres),
        _ => out.null(),
    }
    Ok(())
}

/// Which command it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `GEORADIUS key longitude latitude radius unit`
    Radius,
    /// `GEORADIUSBYMEMBER key member radius unit`
    RadiusByMember,
    /// `GEOSEARCH key`
    Search,
    /// `GEOSEARCHSTORE destination key`
    SearchStore,
}

/// A search, parsed.
struct Search<'a> {
    centre: Option<Place>,
    /// A centre was given, even if it is a member of nothing.
    has_centre: bool,
    shape: Option<Scaled>,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    /// Nearest first, or last.
    nearest_first: Option<bool>,
    count: usize,
    any: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

/// A member that was found.
struct Found<'a> {
    member: LpItem<'a>,
    score: f64,
    place: Place,
    distance: f64,
}

impl<'a> Search<'a> {
    /// What stands at fixed places, and the options behind it.
    fn begin<'b>(
        set: Option<&SortedSet>,
        args: &'b [&'a [u8]],
        form: Form,
    ) -> Result<(Search<'a>, &'b [&'a [u8]]), CommandError> {
        let mut s = Search {
            centre: None,
            has_centre: false,
            shape: None,
            with_distance: false,
            with_hash: false,
            with_place: false,
            nearest_first: None,
            count: 0,
            any: false,
            store: (form == Form::SearchStore).then(|| args[1]),
            store_distance: false,
        };
        let options = match form {
            Form::Radius => {
                s.centre = Some(place_argument(&args[2..])?);
                s.shape = Some(circle(&args[4..])?);
                &args[6..]
            }
            Form::RadiusByMember => {
                if let Some(set) = set {
                    s.centre = Some(member_place(set, args[2])?);
                    s.shape = Some(circle(&args[3..])?);
                }
                &args[5..]
            }
            Form::Search => &args[2..],
            Form::SearchStore => &args[3..],
        };
        Ok((s, options))
    }

    fn parse(
        set: Option<&SortedSet>,
        args: &[&'a [u8]],
        form: Form,
        may_store: bool,
    ) -> Result<Search<'a>, CommandError> {
        let (mut s, options) = Search::begin(set, args, form)?;
        let search = matches!(form, Form::Search | Form::SearchStore);
        let may_store = may_store && !search;
        let (mut from_place, mut from_member) = (false, false);
        let (mut by_radius, mut by_box) = (false, false);
        let mut i = 0;
        while i < options.len() {
            let rest = &options[i + 1..];
            i += match options[i] {
                o if is(o, "withdist") => {
                    s.with_distance = true;
                    0
                }
                o if is(o, "withhash") => {
                    s.with_hash = true;
                    0
                }
                o if is(o, "withcoord") => {
                    s.with_place = true;
                    0
                }
                o if is(o, "any") => {
                    s.any = true;
                    0
                }
                o if is(o, "asc") || is(o, "desc") => {
                    s.nearest_first = Some(is(o, "asc"));
                    0
                }
                o if is(o, "count") && !rest.is_empty() => {
                    let n = int(rest[0])?;
                    if n <= 0 {
                        return Err(err("ERR COUNT must be > 0"));
                    }
                    s.count = n as usize;
                    1
                }
                o if may_store && !rest.is_empty() && (is(o, "store") || is(o, "storedist")) => {
                    s.store = Some(rest[0]);
                    s.store_distance = is(o, "storedist");
                    1
                }
                o if form == Form::SearchStore && is(o, "storedist") => {
                    s.store_distance = true;
                    0
                }
                o if search && !rest.is_empty() && !from_place && is(o, "frommember") => {
                    if let Some(set) = set {
                        s.centre = Some(member_place(set, rest[0])?);
                    }
                    from_member = true;
                    1
                }
                o if search && rest.len() >= 2 && !from_member && is(o, "fromlonlat") => {
                    s.centre = Some(place_argument(rest)?);
                    from_place = true;
                    2
                }
                o if search && rest.len() >= 2 && !by_box && is(o, "byradius") => {
                    s.shape = Some(circle(rest)?);
                    by_radius = true;
                    2
                }
                o if search && rest.len() >= 3 && !by_radius && is(o, "bybox") => {
                    s.shape = Some(rectangle(rest)?);
                    by_box = true;
                    3
                }
                _ => return Err(SYNTAX),
            } + 1;
        }
        s.has_centre = !search || from_place || from_member;
        s.check(args[0], form, !search || by_radius || by_box)?;
        Ok(s)
    }

    fn check(&self, name: &[u8], form: Form, has_shape: bool) -> CommandResult {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            let what = match form {
                Form::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(err(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if !self.has_centre {
            return Err(err(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {}",
                text(name)
            )));
        }
        if !has_shape {
            return Err(err(format!(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {}",
                text(name)
            )));
        }
        if self.any && self.count == 0 {
            return Err(err("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The members that the search finds, sorted and cut as it says.
    fn run<'t>(&self, set: &'t SortedSet) -> Vec<Found<'t>> {
        let (Some(centre), Some((shape, _))) = (self.centre, self.shape) else {
            return Vec::new();
        };
        let limit = if self.any { self.count } else { usize::MAX };
        let mut found = Vec::new();
        for (min, max) in geohash::cover(centre, shape) {
            if found.len() >= limit {
                break;
            }
            let range = ScoreRange { min, max, minex: false, maxex: true };
            for (member, score) in set.iter_range(set.range_by_score(&range), false) {
                let place = geohash::place(score);
                if let Some(distance) = shape.contains(centre, place) {
                    found.push(Found { member, score, place, distance });
                    if found.len() >= limit {
                        break;
                    }
                }
            }
        }
        // The nearest ones are meant when only so many are wanted, unless any will do.
        let order = self.nearest_first.or((self.count > 0 && !self.any).then_some(true));
        if let Some(nearest_first) = order {
            let compare = |a: &Found<'_>, b: &Found<'_>| match nearest_first {
                true => a.distance.total_cmp(&b.distance),
                false => b.distance.total_cmp(&a.distance),
            };
            if self.count > 0 && self.count < found.len() {
                partial_sort::sort_range(&mut found, &(0..self.count), compare);
            } else {
                found.sort_by(compare);
            }
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn reply(&self, out: &mut Reply, found: &[Found<'_>], metres: f64) {
        let extra = [self.with_distance, self.with_hash, self.with_place];
        let extra = extra.iter().filter(|w| **w).count();
        out.array(found.len());
        for f in found {
            if extra > 0 {
                out.array(extra + 1);
            }
            bulk_item(out, f.member);
            if self.with_distance {
                bulk_distance(out, f.distance / metres);
            }
            if self.with_hash {
                out.int(f.score as i64);
            }
            if self.with_place {
                coordinates(out, f.place);
            }
        }
    }
}

/// Nothing stays in a listpack while a result is built.
const UNPACKED: ZsetLimits = ZsetLimits { max_listpack_entries: 0, max_listpack_value: 0 };

fn search(
    tx: &mut Tx<'_>,
    args: &[&[u8]],
    out: &mut Reply,
    form: Form,
    may_store: bool,
) -> CommandResult {
    let set = tx.zset(args[if form == Form::SearchStore { 2 } else { 1 }])?;
    let query = Search::parse(set, args, form, may_store)?;
    let metres = query.shape.map_or(1.0, |s| s.1);
    let found = set.map_or(Vec::new(), |s| query.run(s));
    let Some(to) = query.store else {
        query.reply(out, &found, metres);
        return Ok(());
    };
    if !tx.reaches(to) {
        // Only the first of several destinations is declared.
        return Err(SYNTAX);
    }
    let mut result = SortedSet::for_size(1, 0, &UNPACKED);
    let mut buf = NumBuf::new();
    for f in &found {
        let score = if query.store_distance { f.distance / metres } else { f.score };
        result.insert(f.member.bytes(&mut buf), score, &UNPACKED);
    }
    let n = found.len();
    drop(found);
    result.settle(&zset_limits(tx.server));
    let event = match form {
        Form::Search | Form::SearchStore => &event::GEOSEARCHSTORE,
        _ => &event::GEORADIUSSTORE,
    };
    let value = if n == 0 { None } else { Some(Value::Zset(Box::new(result))) };
    store(tx, to, value, event);
    tx.dirty += (n as u64).saturating_sub(1);
    out.int(n as i64);
    Ok(())
}

/// `GEOSEARCH key FROMMEMBER member|FROMLONLAT lon lat BYRADIUS r unit|BYBOX w h unit [options]`
fn geosearch(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    search(tx, args, out, Form::Search, false)
}

/// `GEOSEARCHSTORE destination key` and so on, `[STOREDIST]`
fn geosearchstore(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    search(tx, args, out, Form::SearchStore, false)
}

/// `GEORADIUS key lon lat radius unit [options] [STORE|STOREDIST key]`
fn georadius(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    search(tx, args, out, Form::Radius, true)
}

/// `GEORADIUS_RO key lon lat radius unit [options]`
fn georadius_ro(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    search(tx, args, out, Form::Radius, false)
}

/// `GEORADIUSBYMEMBER key member radius unit [options] [STORE|STOREDIST key]`
fn georadiusbymember(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    search(tx, args, out, Form::RadiusByMember, true)
}

/// `GEORADIUSBYMEMBER_RO key member radius unit [options]`
fn georadiusbymember_ro(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    search(tx, args, out, Form::RadiusByMember, false)
}

const GEO: (&str, &[&str]) = ("geo", &["geo"]);
const STORES: u64 = flags::WRITE | flags::DENYOOM;
const EVENTS: u32 = WRITES | READS;

const fn behind(word: &'static str, from: i32) -> KeySpec {
    KeySpec {
        flags: key::OW | key::UPDATE,
        begin: Begin::Keyword(Cow::Borrowed(word), from),
        find: Find::Range(0, 1, 0),
        notes: None,
    }
}

const RADIUS_KEYS: &[KeySpec] =
    &[keys(key::RO | key::ACCESS, 1, 1, 1), behind("STORE", 6), behind("STOREDIST", 6)];
const MEMBER_KEYS: &[KeySpec] =
    &[keys(key::RO | key::ACCESS, 1, 1, 1), behind("STORE", 5), behind("STOREDIST", 5)];

/// The family's commands.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row(GEO, "geoadd", -5, STORES, WRITES, spec::UPDATE, "3.2.0",
        "Adds places to a sorted set.", geoadd),
    row(GEO, "geopos", -2, flags::READONLY, READS, spec::READ, "3.2.0",
        "Returns longitude and latitude of members.", geopos),
    row(GEO, "geohash", -2, flags::READONLY, READS, spec::READ, "3.2.0",
        "Returns the geohashes of members.", geohash),
    row(GEO, "geodist", -4, flags::READONLY, READS, spec::READ, "3.2.0",
        "Returns the distance of two members.", geodist),
    row(GEO, "geosearch", -7, flags::READONLY, READS, spec::READ, "6.2.0",
        "Returns members in a circle or a box.", geosearch),
    row(GEO, "geosearchstore", -8, STORES, EVENTS, spec::STORE_ONE, "6.2.0",
        "Stores members in a circle or a box.", geosearchstore),
    row(GEO, "georadius", -6, STORES, EVENTS, RADIUS_KEYS, "3.2.0",
        "Returns or stores members near a place.", georadius),
    row(GEO, "georadius_ro", -6, flags::READONLY, READS, spec::READ, "3.2.10",
        "Returns members near a place.", georadius_ro),
    row(GEO, "georadiusbymember", -5, STORES, EVENTS, MEMBER_KEYS, "3.2.0",
        "Returns or stores members near another one.", georadiusbymember),
    row(GEO, "georadiusbymember_ro", -5, flags::READONLY, READS, spec::READ, "3.2.10",
        "Returns members near another one.", georadiusbymember_ro),
];
