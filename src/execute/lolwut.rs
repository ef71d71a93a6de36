//! `LOLWUT`: the version, and a picture for those who ask for one. The pictures are made by our own rules: squares that
//! lose their order from row to row, after Georg Nees (version 5), and a town at night (version 6).
use super::{int_between, is, CommandResult, Tx};
use crate::observe::random;
use crate::reply::Reply;
use std::f64::consts::FRAC_PI_2;

/// A canvas of dots, eight of them in a character of the Braille block.
struct Dots {
    width: usize,
    height: usize,
    on: Vec<bool>,
}

impl Dots {
    fn new(width: usize, height: usize) -> Dots {
        Dots { width, height, on: vec![false; width * height] }
    }

    fn set(&mut self, x: f64, y: f64) {
        let (x, y) = (x.round(), y.round());
        if x >= 0.0 && y >= 0.0 && (x as usize) < self.width && (y as usize) < self.height {
            self.on[y as usize * self.width + x as usize] = true;
        }
    }

    fn line(&mut self, (x0, y0): (f64, f64), (x1, y1): (f64, f64)) {
        let steps = (x1 - x0).abs().max((y1 - y0).abs()).ceil().max(1.0);
        for i in 0..=steps as usize {
            let part = i as f64 / steps;
            self.set(x0 + (x1 - x0) * part, y0 + (y1 - y0) * part);
        }
    }

    /// A square of this side around a point, turned by an angle.
    fn square(&mut self, (x, y): (f64, f64), side: f64, angle: f64) {
        let radius = side / 2.0 * std::f64::consts::SQRT_2;
        let corner = |n: u32| {
            let a = angle + FRAC_PI_2 * (f64::from(n) + 0.5);
            (x + radius * a.cos(), y + radius * a.sin())
        };
        (0..4).for_each(|n| self.line(corner(n), corner(n + 1)));
    }

    fn text(&self) -> String {
        // Bits of a Braille character by the dot's column and row.
        const BITS: [[u32; 4]; 2] = [[0, 1, 2, 6], [3, 4, 5, 7]];
        let dot =
            |x: usize, y: usize| x < self.width && y < self.height && self.on[y * self.width + x];
        let mut text = String::new();
        for y in (0..self.height).step_by(4) {
            for x in (0..self.width).step_by(2) {
                let mut code = 0x2800;
                for (dx, column) in BITS.iter().enumerate() {
                    for (dy, bit) in column.iter().enumerate() {
                        code |= u32::from(dot(x + dx, y + dy)) << bit;
                    }
                }
                text.extend(char::from_u32(code));
            }
            text.push('\n');
        }
        text
    }
}

/// A random number from -1 to 1.
fn swing() -> f64 {
    (random::next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Squares in rows; order above, disorder below.
fn squares(columns: usize, per_row: usize, rows: usize) -> String {
    let width = columns * 2;
    let side = (width as f64 - 4.0) / per_row as f64;
    let mut dots = Dots::new(width, (side * rows as f64) as usize + 4);
    for row in 0..rows {
        let disorder = row as f64 / rows as f64;
        for column in 0..per_row {
            let at = |n: usize| 2.0 + side * (n as f64 + 0.5) + swing() * disorder * side / 3.0;
            dots.square((at(column), at(row)), side, swing() * disorder);
        }
    }
    dots.text()
}

/// Houses with lit windows before a dark sky.
fn town(columns: usize, rows: usize) -> String {
    let mut sky = vec![vec![' '; columns]; rows];
    for _ in 0..columns * rows / 60 {
        let (x, y) = (random::next() as usize % columns, random::next() as usize % rows);
        sky[y][x] = '.';
    }
    let mut x = 0;
    while x < columns {
        let width = (4 + random::next() as usize % 8).min(columns - x);
        let height = (2 + random::next() as usize % rows.max(3)).min(rows * 4 / 5);
        for (y, line) in sky.iter_mut().rev().take(height).enumerate() {
            for (i, place) in line[x..x + width].iter_mut().enumerate() {
                let window = i % 2 == 1 && y % 2 == 1 && i + 1 < width;
                *place = if window && random::next() % 3 > 0 { '\u{2592}' } else { '\u{2588}' };
            }
        }
        x += width + random::next() as usize % 2;
    }
    sky.iter().flat_map(|line| line.iter().chain(&['\n'])).collect()
}

/// `LOLWUT [VERSION version] [number ...]`
pub fn lolwut(_: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let mut rest = &args[1..];
    let mut version = 0;
    if let [word, number, ..] = rest {
        if is(word, "version") {
            version = super::int(number)?;
            rest = &rest[2..];
        }
    }
    let number = |i: usize, default: i64, most: i64| match rest.get(i) {
        None => Ok(default as usize),
        // What is out of range is brought into it.
        Some(arg) => int_between(arg, i64::MIN, i64::MAX).map(|n| n.clamp(1, most) as usize),
    };
    let picture = match version {
        5 => squares(number(0, 66, 1000)?, number(1, 8, 200)?, number(2, 12, 200)?) + "\n",
        6 => town(number(0, 80, 1000)?, number(1, 20, 1000)?) + "\n",
        _ => String::new(),
    };
    let text = format!("{picture}Redis ver. {}\n", crate::config::load::REDIS_VERSION);
    out.verbatim(b"txt", text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_make_characters() {
        let mut d = Dots::new(4, 4);
        d.line((0.0, 0.0), (0.0, 3.0));
        d.set(3.0, 3.0);
        d.set(-1.0, 9.0);
        assert_eq!(d.text(), "\u{2847}\u{2880}\n");
    }

    #[test]
    fn pictures_have_their_size() {
        for (columns, per_row, rows) in [(66, 8, 12), (1, 1, 1), (10, 200, 3)] {
            let p = squares(columns, per_row, rows);
            assert!(p.lines().all(|l| l.chars().count() == columns), "{columns} {per_row} {rows}");
        }
        for (columns, rows) in [(80, 20), (1, 1), (3, 2)] {
            let p = town(columns, rows);
            assert_eq!(p.lines().count(), rows);
            assert!(p.lines().all(|l| l.chars().count() == columns));
        }
    }
}
