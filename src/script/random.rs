//! `math.random` and `math.randomseed`: the same numbers everywhere, from the 48-bit generator of POSIX (`lrand48`).
use super::lua::{Lua, Results};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The generator's state; scripts run one at a time.
static STATE: AtomicU64 = AtomicU64::new(0x1234_abcd_330e);

/// The next number of 31 bits.
fn next(state: u64) -> (u64, u32) {
    let state = state.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & ((1 << 48) - 1);
    (state, (state >> 17) as u32)
}

fn seeded(seed: i32) -> u64 {
    (u64::from(seed as u32) << 16) | 0x330e
}

/// `math.random ([m [, n]])`
fn random(lua: Lua) -> Results {
    const MAX: u32 = i32::MAX as u32;
    let (state, n) = next(STATE.load(Relaxed));
    STATE.store(state, Relaxed);
    let r = f64::from(n % MAX) / f64::from(MAX);
    let value = match lua.top() {
        0 => r,
        1 => {
            let to = lua.check_integer(1)? as i32;
            if to < 1 {
                return Err(lua.argument_error(1, "interval is empty"));
            }
            (r * f64::from(to)).floor() + 1.0
        }
        2 => {
            let (from, to) = (lua.check_integer(1)? as i32, lua.check_integer(2)? as i32);
            if from > to {
                return Err(lua.argument_error(2, "interval is empty"));
            }
            let width = to.wrapping_sub(from).wrapping_add(1);
            (r * f64::from(width)).floor() + f64::from(from)
        }
        _ => return Err(lua.error(b"wrong number of arguments")),
    };
    lua.push_number(value);
    Ok(1)
}

/// `math.randomseed (x)`
fn randomseed(lua: Lua) -> Results {
    STATE.store(seeded(lua.check_integer(1)? as i32), Relaxed);
    Ok(0)
}

/// Replaces Lua's functions in `math`; the globals' table is on top.
pub fn open(lua: Lua) {
    lua.field(-1, b"math");
    lua.push_function(random);
    lua.set_field(-2, b"random");
    lua.push_function(randomseed);
    lua.set_field(-2, b"randomseed");
    lua.pop(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_of_lrand48() {
        // SAFETY: layout: the C library's generator, used by this test only.
        let expected: Vec<u32> = unsafe {
            libc::srand48(42);
            (0..5).map(|_| libc::lrand48() as u32).collect()
        };
        let mut state = seeded(42);
        let got: Vec<u32> = (0..5)
            .map(|_| {
                let (s, n) = next(state);
                state = s;
                n
            })
            .collect();
        assert_eq!(got, expected);
    }
}
