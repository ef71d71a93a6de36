//! Places on the earth as scores of sorted sets: geohashes of 52 bits, and areas that cover a search.
//!
//! A geohash of `step` steps halves longitude and latitude so many times; the bits are interleaved, latitude in the even
//! ones. Latitudes end where Web Mercator does. Ranges, constants and rounding are those of Redis, since they decide
//! which places are found.

/// Steps of a score.
pub const MAX_STEP: u32 = 26;
const LON: (f64, f64) = (-180.0, 180.0);
const LAT: (f64, f64) = (-85.051_128_78, 85.051_128_78);
/// Range of latitudes of standard geohash strings.
const STANDARD_LAT: (f64, f64) = (-90.0, 90.0);
const EARTH_RADIUS: f64 = 6_372_797.560856;
const MERCATOR_MAX: f64 = 20_037_726.37;
const DEGREE: f64 = std::f64::consts::PI / 180.0;

/// Longitude and latitude in degrees.
pub type Place = (f64, f64);

/// Whether a place can be encoded.
pub fn is_valid(place: Place) -> bool {
    (LON.0..=LON.1).contains(&place.0) && (LAT.0..=LAT.1).contains(&place.1)
}

/// Spreads the bits of a number over the even bits.
fn spread(n: u32) -> u64 {
    let mut x = u64::from(n);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        x = (x | x << shift) & mask;
    }
    x
}

/// The reverse of [`spread`].
fn gather(bits: u64) -> u32 {
    let mut x = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        x = (x | x >> shift) & mask;
    }
    x as u32
}

/// A cell of the grid of some step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cell {
    bits: u64,
    step: u32,
}

/// Ends of a cell.
struct Area {
    lon: (f64, f64),
    lat: (f64, f64),
}

impl Cell {
    fn encode(place: Place, lat_range: (f64, f64), step: u32) -> Cell {
        let fixed = |x: f64, (min, max): (f64, f64)| {
            ((x - min) / (max - min) * (1u64 << step) as f64) as u32
        };
        let bits = spread(fixed(place.1, lat_range)) | spread(fixed(place.0, LON)) << 1;
        Cell { bits, step }
    }

    fn area(self) -> Area {
        let part = |i: u32, more: f64, (min, max): (f64, f64)| {
            min + (f64::from(i) + more) / (1u64 << self.step) as f64 * (max - min)
        };
        let (lat, lon) = (gather(self.bits), gather(self.bits >> 1));
        Area {
            lon: (part(lon, 0.0, LON), part(lon, 1.0, LON)),
            lat: (part(lat, 0.0, LAT), part(lat, 1.0, LAT)),
        }
    }

    /// The cell so many columns and rows away; beyond the edge it goes on at the other side.
    fn neighbour(self, (columns, rows): (i32, i32)) -> Cell {
        let mask = if self.step == 0 { 0 } else { u32::MAX >> (32 - self.step) };
        let moved = |n: u32, by: i32| n.wrapping_add_signed(by) & mask;
        let (lat, lon) = (gather(self.bits), gather(self.bits >> 1));
        Cell { bits: spread(moved(lat, rows)) | spread(moved(lon, columns)) << 1, ..self }
    }

    /// Scores in the cell: from the first to the second, which is outside.
    fn scores(self) -> (u64, u64) {
        let shift = 2 * (MAX_STEP - self.step);
        (self.bits << shift, (self.bits + 1) << shift)
    }
}

/// The score of a place.
pub fn score(place: Place) -> f64 {
    Cell::encode(place, LAT, MAX_STEP).bits as f64
}

/// A score as a whole number, as C's conversion on x86-64 has it: members of any sorted set may be asked for, and so a
/// negative score wraps around.
fn bits_of(score: f64) -> u64 {
    const HALF: f64 = (1u64 << 63) as f64;
    let signed = |score: f64| match (-HALF..HALF).contains(&score) {
        true => score as i64 as u64,
        false => 1 << 63,
    };
    match score < HALF || score.is_nan() {
        true => signed(score),
        false => signed(score - HALF) ^ 1 << 63,
    }
}

/// The place of a score: the middle of its cell.
pub fn place(score: f64) -> Place {
    let area = Cell { bits: bits_of(score), step: MAX_STEP }.area();
    let middle =
        |(min, max): (f64, f64), range: (f64, f64)| ((min + max) / 2.0).clamp(range.0, range.1);
    (middle(area.lon, LON), middle(area.lat, LAT))
}

/// The standard geohash string of a place. The last of its eleven letters is always zero: a score has no more bits.
pub fn text(place: Place) -> [u8; 11] {
    const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = Cell::encode(place, STANDARD_LAT, MAX_STEP).bits;
    let mut text = [LETTERS[0]; 11];
    for (i, letter) in text[..10].iter_mut().enumerate() {
        *letter = LETTERS[(bits >> (52 - 5 * (i + 1))) as usize & 31];
    }
    text
}

fn lat_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS * (b * DEGREE - a * DEGREE).abs()
}

/// Great-circle distance of two places in metres (haversine).
pub fn distance(a: Place, b: Place) -> f64 {
    let v = ((b.0 * DEGREE - a.0 * DEGREE) / 2.0).sin();
    if v == 0.0 {
        return lat_distance(a.1, b.1);
    }
    let (lat_a, lat_b) = (a.1 * DEGREE, b.1 * DEGREE);
    let u = ((lat_b - lat_a) / 2.0).sin();
    let h = u * u + lat_a.cos() * lat_b.cos() * v * v;
    2.0 * EARTH_RADIUS * h.sqrt().asin()
}

/// What a search looks for, around a place, in metres.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Shape {
    /// Everything within a radius.
    Circle(f64),
    /// Everything within a box of this width and height.
    Box(f64, f64),
}

impl Shape {
    /// The distance of a place from the centre, if it is inside.
    pub fn contains(self, centre: Place, place: Place) -> Option<f64> {
        match self {
            Shape::Circle(radius) => Some(distance(centre, place)).filter(|d| *d <= radius),
            Shape::Box(width, height) => {
                let inside = lat_distance(place.1, centre.1) <= height / 2.0
                    && distance(place, (centre.0, place.1)) <= width / 2.0;
                inside.then(|| distance(centre, place))
            }
        }
    }

    /// Half the width and half the height.
    fn half(self) -> (f64, f64) {
        match self {
            Shape::Circle(radius) => (radius, radius),
            Shape::Box(width, height) => (width / 2.0, height / 2.0),
        }
    }
}

/// How fine a grid may be so that a cell and its neighbours cover the radius in most cases.
fn estimate_step(mut radius: f64, lat: f64) -> u32 {
    if radius == 0.0 {
        return MAX_STEP;
    }
    let mut step = 1;
    while radius < MERCATOR_MAX {
        radius *= 2.0;
        step += 1;
    }
    step -= 2;
    // Cells are narrower towards the poles.
    step -= i32::from(lat.abs() > 66.0) + i32::from(lat.abs() > 80.0);
    step.clamp(1, MAX_STEP as i32) as u32
}

/// Columns and rows from the centre: itself, then its neighbours in the order in which their members are found.
const AROUND: [(i32, i32); 9] =
    [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// Ranges of scores that cover a shape around a place: from the first score to the second, which is outside.
pub fn cover(centre: Place, shape: Shape) -> Vec<(f64, f64)> {
    let (lon, lat) = centre;
    let (half_width, half_height) = shape.half();
    let lat_by = half_height / EARTH_RADIUS / DEGREE;
    let lon_by = |at: f64| half_width / EARTH_RADIUS / (at * DEGREE).cos() / DEGREE;
    // The side that is nearer to a pole spans more degrees, seen from the equator's other side.
    let lon_by = if lat < 0.0 { lon_by(lat - lat_by) } else { lon_by(lat + lat_by) };
    let (min, max) = ((lon - lon_by, lat - lat_by), (lon + lon_by, lat + lat_by));
    let radius = match shape {
        Shape::Circle(radius) => radius,
        Shape::Box(..) => (half_width * half_width + half_height * half_height).sqrt(),
    };
    let mut step = estimate_step(radius, lat);
    let cell = Cell::encode(centre, LAT, step);
    let beside = |by| cell.neighbour(by).area();
    let too_fine = beside((0, 1)).lat.1 < max.1
        || beside((0, -1)).lat.0 > min.1
        || beside((1, 0)).lon.1 < max.0
        || beside((-1, 0)).lon.0 > min.0;
    if step > 1 && too_fine {
        step -= 1;
    }
    let cell = Cell::encode(centre, LAT, step);
    let area = cell.area();
    let useless = |(column, row): (i32, i32)| {
        step >= 2
            && ((row < 0 && area.lat.0 < min.1)
                || (row > 0 && area.lat.1 > max.1)
                || (column < 0 && area.lon.0 < min.0)
                || (column > 0 && area.lon.1 > max.0))
    };
    let mut cells: Vec<Cell> =
        AROUND.into_iter().filter(|by| !useless(*by)).map(|by| cell.neighbour(by)).collect();
    // Coarse grids have so few cells that neighbours may be the same. The centre counts as different, as on Redis.
    let centre = cells.remove(0);
    cells.dedup();
    let ranges = [centre].into_iter().chain(cells).map(Cell::scores);
    ranges.map(|(from, to)| (from as f64, to as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Place = (13.361389, 38.115556);
    const CATANIA: Place = (15.087269, 37.502669);

    /// Expected values are those of redis-server 7.4.1.
    #[test]
    fn scores_places_and_distances() {
        assert_eq!(score(PALERMO), 3479099956230698.0);
        assert_eq!(&text(place(score(PALERMO))), b"sqc8b49rny0");
        assert_eq!(place(score(PALERMO)), (13.361389338970184, 38.1155563954963));
        let d = distance(place(score(PALERMO)), place(score(CATANIA)));
        assert_eq!(format!("{d:.4}"), "166274.1516");
    }

    #[test]
    fn bits_are_spread_and_gathered() {
        for n in [0, 1, 0x0155_5555, 0x02aa_aaaa, u32::MAX, 0xdead_beef] {
            assert_eq!(gather(spread(n)), n);
        }
    }

    #[test]
    fn a_cover_has_what_the_shape_has() {
        let mut state = 1u64;
        let mut random = |scale: f64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 11) as f64 / (1u64 << 53) as f64 - 0.5) * 2.0 * scale
        };
        for _ in 0..2000 {
            let centre = (random(170.0), random(60.0));
            let shape = match random(1.0) > 0.0 {
                true => Shape::Circle(random(150_000.0).abs()),
                false => Shape::Box(random(150_000.0).abs(), random(150_000.0).abs()),
            };
            let cover = cover(centre, shape);
            for _ in 0..20 {
                let near = (centre.0 + random(1.0), centre.1 + random(1.0));
                let s = score(near);
                if shape.contains(centre, place(s)).is_some() {
                    assert!(cover.iter().any(|(from, to)| (*from..*to).contains(&s)));
                }
            }
        }
    }
}
