//! Strings, bitmaps and bit fields.
use super::rows::Line;

/// `SET` and its kin.
pub const STRINGS: &[Line] = &[
    (20, "SET <str> <v>", ""),
    (6, "SET <num> <int>", ""),
    (3, "SET <num> <float>", ""),
    (
        10,
        "SET <str> <v> &( [ ( NX | XX ) ] | [ GET ] | [ ( EX <sec> | PX <ms> | EXAT <at> | PXAT <atms> | KEEPTTL ) ] )",
        "",
    ),
    (2, "SET <str> <v> { ( NX | XX | GET | KEEPTTL | EX <sec> | <odd> ) }", ""),
    (10, "GET <str>", ""),
    (3, "GET <key>", ""),
    (3, "GETDEL <str>", ""),
    (4, "GETSET <str> <v>", ""),
    (6, "GETEX <str> [ ( EX <sec> | PX <ms> | EXAT <at> | PXAT <atms> | PERSIST | <odd> ) ]", ""),
    (4, "SETEX <str> <sec> <v>", ""),
    (4, "PSETEX <str> <ms> <v>", ""),
    (4, "SETNX <str> <v>", ""),
    (6, "APPEND <str> <v>", ""),
    (3, "APPEND <num> <int>", ""),
    (4, "STRLEN <str>", ""),
    (5, "SETRANGE <str> <off> <v>", ""),
    (5, "GETRANGE <str> <idx> <idx>", ""),
    (2, "SUBSTR <str> <idx> <idx>", ""),
    (5, "MGET { <str> }", ""),
    (2, "MGET { <key> }", ""),
    (4, "MSET { <str> <v> }", ""),
    (3, "MSETNX { <str> <v> }", ""),
    (8, "INCR <num>", ""),
    (4, "DECR <num>", ""),
    (6, "INCRBY <num> <int>", ""),
    (4, "DECRBY <num> <int>", ""),
    (6, "INCRBYFLOAT <num> <float>", ""),
    (2, "INCR <str>", ""),
    (5, "LCS <str> <str> &( [ ( LEN | IDX ) ] | [ MINMATCHLEN <few> ] | [ WITHMATCHLEN ] )", ""),
];

/// `SETBIT`, `BITOP`, `BITFIELD`.
pub const BITMAPS: &[Line] = &[
    (12, "SETBIT <bits> <bitoff> <bit>", ""),
    (6, "GETBIT <bits> <bitoff>", ""),
    (3, "SET <bits> <v>", ""),
    (6, "BITCOUNT <bits> [ <idx> <idx> [ ( BYTE | BIT ) ] ]", ""),
    (8, "BITPOS <bits> <bit> [ <idx> [ <idx> [ ( BYTE | BIT ) ] ] ]", ""),
    (8, "BITOP ( AND | OR | XOR ) <bits> { <bits> }", ""),
    (3, "BITOP NOT <bits> <bits> [ <bits> ]", ""),
    (
        10,
        "BITFIELD <bits> { ( GET <bftype> <bfoff> | SET <bftype> <bfoff> <int> | INCRBY <bftype> <bfoff> <int> | OVERFLOW ( WRAP | SAT | FAIL | <odd> ) ) }",
        "",
    ),
    (4, "BITFIELD_RO <bits> { GET <bftype> <bfoff> }", ""),
    (2, "BITFIELD_RO <bits> { ( GET <bftype> <bfoff> | SET <bftype> <bfoff> <int> ) }", ""),
];
