//! Shortest decimal form of a double, digit for digit as Redis prints it.
//!
//! Redis prints doubles with Grisu2 (Loitsch, "Printing Floating-Point Numbers Quickly and Accurately
//! with Integers", 2010). Grisu2 always reads back to the same double but in about one case of a thousand
//! is not the shortest form, so the standard library's printer would differ from Redis there. Clients compare
//! scores as text; hence our own Grisu2, with the same cached powers and the same window of exponents.

/// A floating point number without sign: `mant * 2^exp`.
#[derive(Clone, Copy)]
struct Scaled {
    mant: u64,
    exp: i32,
}

impl Scaled {
    fn normalized(self) -> Scaled {
        let shift = self.mant.leading_zeros();
        Scaled { mant: self.mant << shift, exp: self.exp - shift as i32 }
    }

    /// The upper half of the product, rounded half up.
    fn times(self, other: Scaled) -> Scaled {
        let product = u128::from(self.mant) * u128::from(other.mant) + (1 << 63);
        Scaled { mant: (product >> 64) as u64, exp: self.exp + other.exp + 64 }
    }
}

const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;
/// After scaling, the binary exponent lies in this window, so that the integral part fits 32 bits.
const WINDOW: std::ops::RangeInclusive<i32> = -60..=-32;

/// The 64 leading bits of 10^-348, 10^-340, ... 10^340, rounded half up.
#[rustfmt::skip]
const POWERS: [u64; 87] = [
    0xfa8fd5a0081c0288, 0xbaaee17fa23ebf76, 0x8b16fb203055ac76, 0xcf42894a5dce35ea,
    0x9a6bb0aa55653b2d, 0xe61acf033d1a45df, 0xab70fe17c79ac6ca, 0xff77b1fcbebcdc4f,
    0xbe5691ef416bd60c, 0x8dd01fad907ffc3c, 0xd3515c2831559a83, 0x9d71ac8fada6c9b5,
    0xea9c227723ee8bcb, 0xaecc49914078536d, 0x823c12795db6ce57, 0xc21094364dfb5637,
    0x9096ea6f3848984f, 0xd77485cb25823ac7, 0xa086cfcd97bf97f4, 0xef340a98172aace5,
    0xb23867fb2a35b28e, 0x84c8d4dfd2c63f3b, 0xc5dd44271ad3cdba, 0x936b9fcebb25c996,
    0xdbac6c247d62a584, 0xa3ab66580d5fdaf6, 0xf3e2f893dec3f126, 0xb5b5ada8aaff80b8,
    0x87625f056c7c4a8b, 0xc9bcff6034c13053, 0x964e858c91ba2655, 0xdff9772470297ebd,
    0xa6dfbd9fb8e5b88f, 0xf8a95fcf88747d94, 0xb94470938fa89bcf, 0x8a08f0f8bf0f156b,
    0xcdb02555653131b6, 0x993fe2c6d07b7fac, 0xe45c10c42a2b3b06, 0xaa242499697392d3,
    0xfd87b5f28300ca0e, 0xbce5086492111aeb, 0x8cbccc096f5088cc, 0xd1b71758e219652c,
    0x9c40000000000000, 0xe8d4a51000000000, 0xad78ebc5ac620000, 0x813f3978f8940984,
    0xc097ce7bc90715b3, 0x8f7e32ce7bea5c70, 0xd5d238a4abe98068, 0x9f4f2726179a2245,
    0xed63a231d4c4fb27, 0xb0de65388cc8ada8, 0x83c7088e1aab65db, 0xc45d1df942711d9a,
    0x924d692ca61be758, 0xda01ee641a708dea, 0xa26da3999aef774a, 0xf209787bb47d6b85,
    0xb454e4a179dd1877, 0x865b86925b9bc5c2, 0xc83553c5c8965d3d, 0x952ab45cfa97a0b3,
    0xde469fbd99a05fe3, 0xa59bc234db398c25, 0xf6c69a72a3989f5c, 0xb7dcbf5354e9bece,
    0x88fcf317f22241e2, 0xcc20ce9bd35c78a5, 0x98165af37b2153df, 0xe2a0b5dc971f303a,
    0xa8d9d1535ce3b396, 0xfb9b7cd9a4a7443c, 0xbb764c4ca7a44410, 0x8bab8eefb6409c1a,
    0xd01fef10a657842c, 0x9b10a4e5e9913129, 0xe7109bfba19c0c9d, 0xac2820d9623bf429,
    0x80444b5e7aa7cf85, 0xbf21e44003acdd2d, 0x8e679c2f5e44ff8f, 0xd433179d9c8cb841,
    0x9e19db92b4e31ba9, 0xeb96bf6ebadf77d9, 0xaf87023b9bf0ee6b,
];

fn cached_power(index: usize) -> (Scaled, i32) {
    let decimal = FIRST_POWER + POWER_STEP * index as i32;
    // floor(log2(10^decimal)): 217706 / 2^16 is log2(10), exact enough for this range.
    let exp = ((decimal * 217_706) >> 16) - 63;
    (Scaled { mant: POWERS[index], exp }, decimal)
}

/// A power of ten that brings a number with binary exponent `exp` into the window. Two neighbours may both
/// do; where the search starts decides which one wins, and with it the digits in rare cases.
fn power_for(exp: i32) -> (Scaled, i32) {
    let estimate = (-f64::from(exp + 87) * std::f64::consts::LOG10_2) as i32;
    let mut index = ((estimate - FIRST_POWER) / POWER_STEP) as usize;
    loop {
        let (power, decimal) = cached_power(index);
        let reached = exp + power.exp + 64;
        if reached < *WINDOW.start() {
            index += 1;
        } else if reached > *WINDOW.end() {
            index -= 1;
        } else {
            return (power, decimal);
        }
    }
}

/// Writes the decimal digits of a finite, positive `v` and returns their count and the decimal
/// exponent of the last digit.
fn digits(v: f64, out: &mut [u8; 24]) -> (usize, i32) {
    const HIDDEN: u64 = 1 << 52;
    let bits = v.to_bits();
    let (fraction, biased) = (bits & (HIDDEN - 1), (bits >> 52) as i32 & 0x7ff);
    let value = match biased {
        0 => Scaled { mant: fraction, exp: -1074 },
        _ => Scaled { mant: fraction | HIDDEN, exp: biased - 1075 },
    };
    // The neighbours' midpoints; below a power of two the lower neighbour is only half as far away.
    let high = Scaled { mant: value.mant * 2 + 1, exp: value.exp - 1 }.normalized();
    let low_shift = if value.mant == HIDDEN { 2 } else { 1 };
    let low = Scaled {
        mant: ((value.mant << low_shift) - 1) << (value.exp - low_shift - high.exp),
        exp: high.exp,
    };

    let (power, decimal) = power_for(high.exp);
    let exact = value.normalized().times(power);
    // One unit inwards on either side pays for the error of the multiplications.
    let high = { Scaled { mant: high.times(power).mant - 1, ..high.times(power) } };
    let low = low.times(power).mant + 1;
    generate(exact.mant, high, high.mant - low, -decimal, out)
}

/// Digits of the upper bound until what is left lies within `delta`, then the last digit is lowered while
/// that comes nearer to the exact value.
fn generate(
    exact: u64,
    high: Scaled,
    mut delta: u64,
    mut exponent: i32,
    out: &mut [u8; 24],
) -> (usize, i32) {
    let point = (-high.exp) as u32;
    let one = 1u64 << point;
    let mut distance = high.mant - exact;
    let mut integral = high.mant >> point;
    let mut fractional = high.mant & (one - 1);
    let mut count = 0;
    let mut push = |digit: u64, count: &mut usize| {
        if digit != 0 || *count > 0 {
            out[*count] = b'0' + digit as u8;
            *count += 1;
        }
    };

    let mut unit = 1_000_000_000u64;
    for position in (0..10).rev() {
        push(integral / unit, &mut count);
        integral %= unit;
        let rest = (integral << point) + fractional;
        if rest <= delta {
            exponent += position;
            approach(&mut out[count - 1], delta, rest, unit << point, distance);
            return (count, exponent);
        }
        unit /= 10;
    }
    loop {
        fractional *= 10;
        delta *= 10;
        distance = distance.wrapping_mul(10);
        exponent -= 1;
        push(fractional >> point, &mut count);
        fractional &= one - 1;
        if fractional < delta {
            approach(&mut out[count - 1], delta, fractional, one, distance);
            return (count, exponent);
        }
    }
}

fn approach(last: &mut u8, delta: u64, mut rest: u64, unit: u64, distance: u64) {
    while rest < distance
        && delta - rest >= unit
        && (rest + unit < distance || distance - rest > rest + unit - distance)
    {
        *last -= 1;
        rest += unit;
    }
}

/// Writes a finite, non-zero `v` into `out` and returns the length (24 bytes always suffice).
///
/// Plain decimals up to seven places around the digits, otherwise `d.ddde+xx`, as Redis does.
pub(super) fn write(v: f64, out: &mut [u8]) -> usize {
    let mut buf = [0u8; 24];
    let (count, exponent) = digits(v.abs(), &mut buf);
    let digits = &buf[..count];
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        out[len..len + bytes.len()].copy_from_slice(bytes);
        len += bytes.len();
    };
    if v < 0.0 {
        put(b"-");
    }
    // Exponent of the first digit, as in scientific notation.
    let scientific = exponent + count as i32 - 1;
    if exponent >= 0 && scientific < count as i32 + 7 {
        put(digits);
        put(&b"000000000"[..exponent as usize]);
    } else if exponent < 0 && (exponent > -7 || scientific.abs() < 4) {
        let before_point = count as i32 + exponent;
        if before_point <= 0 {
            put(b"0.");
            put(&b"000000000"[..-before_point as usize]);
            put(digits);
        } else {
            put(&digits[..before_point as usize]);
            put(b".");
            put(&digits[before_point as usize..]);
        }
    } else {
        put(&digits[..1]);
        if count > 1 {
            put(b".");
            put(&digits[1..]);
        }
        put(if scientific < 0 { b"e-" } else { b"e+" });
        put(&super::number::format_i64(i64::from(scientific.abs())));
    }
    len
}
