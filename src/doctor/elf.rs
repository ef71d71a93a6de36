//! What a shared object says of itself, read from its file without loading it.
use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};
use object::Endianness;
use std::collections::{BTreeMap, BTreeSet};

type Header = elf::FileHeader64<Endianness>;

/// The facts of one file.
#[derive(Debug, Default)]
pub struct Facts {
    /// Libraries that it needs (`DT_NEEDED`), in order.
    pub needed: Vec<String>,
    /// Where it wants them to be looked for (`DT_RPATH`, `DT_RUNPATH`).
    pub run_path: Vec<String>,
    /// Symbol versions that it wants, by library.
    pub wanted: BTreeMap<String, BTreeSet<String>>,
    /// Symbol versions that it offers.
    pub offered: BTreeSet<String>,
    /// Names that it exports, of functions and of data.
    pub exported: BTreeSet<String>,
    /// Names that others have to define.
    pub undefined: BTreeSet<String>,
    /// It is an executable program, which nobody can load.
    pub is_program: bool,
    /// It is not known what it exports: the table of its sections was removed.
    pub no_symbols: bool,
    /// API names in it, as `GetApi` is asked for them, without prefix.
    pub asked: BTreeSet<String>,
    /// Where its constants are.
    constants: Vec<(usize, usize)>,
    /// It asks with Valkey's prefix.
    pub valkey_prefix: bool,
}

fn machine_name(machine: u16) -> String {
    match machine {
        elf::EM_X86_64 => "x86-64".into(),
        elf::EM_AARCH64 => "AArch64".into(),
        elf::EM_386 => "x86 (32 bits)".into(),
        elf::EM_ARM => "ARM (32 bits)".into(),
        elf::EM_RISCV => "RISC-V".into(),
        elf::EM_S390 => "S/390".into(),
        elf::EM_PPC64 => "PowerPC 64".into(),
        n => format!("ELF machine {n}"),
    }
}

#[cfg(target_arch = "x86_64")]
const OURS: u16 = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const OURS: u16 = elf::EM_AARCH64;

/// Reads a file. `Err` is why it cannot be loaded at all.
pub fn read(data: &[u8]) -> Result<Facts, String> {
    let mut facts = read_any(data)?;
    if facts.is_program {
        return Err("It is a program, not a shared library.".into());
    }
    for &(from, to) in &std::mem::take(&mut facts.constants) {
        find_names(&data[from..to], &mut facts);
    }
    Ok(facts)
}

/// As [`read`], of a program too, without the names that it asks for.
pub fn read_any(data: &[u8]) -> Result<Facts, String> {
    if !data.starts_with(&elf::ELFMAG) {
        return Err(format!("It is not an ELF file: it {}.", other_kind(data)));
    }
    if data.get(4) == Some(&elf::ELFCLASS32) {
        return Err("It is a 32-bit library; this server is a 64-bit program.".into());
    }
    let broken = |e: object::Error| format!("Its ELF structure is damaged or cut short: {e}.");
    let header = Header::parse(data).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let machine = header.e_machine.get(endian);
    if machine != OURS {
        return Err(format!(
            "It was built for {}, this machine is {}.",
            machine_name(machine),
            machine_name(OURS)
        ));
    }
    if header.e_type.get(endian) != elf::ET_DYN {
        return Err("It is not a shared library.".into());
    }
    let segments = header.program_headers(endian, data).map_err(broken)?;
    for s in segments {
        let end = s.p_offset(endian).checked_add(s.p_filesz(endian));
        if s.p_type(endian) == elf::PT_LOAD && end.is_none_or(|end| end > data.len() as u64) {
            return Err("Its ELF structure is damaged or cut short: a segment lies outside.".into());
        }
    }
    let mut facts = Facts::default();
    let sections = header.sections(endian, data).map_err(broken)?;
    facts.no_symbols = sections.is_empty();
    if let Some((entries, link)) = sections.dynamic(endian, data).map_err(broken)? {
        let strings = sections.strings(endian, data, link).map_err(broken)?;
        for d in entries {
            let Some(tag) = d.tag32(endian) else { continue };
            if tag == elf::DT_FLAGS_1 {
                facts.is_program = d.d_val(endian) & u64::from(elf::DF_1_PIE) != 0;
            }
            let Ok(text) = d.string(endian, strings) else { continue };
            let text = String::from_utf8_lossy(text).into_owned();
            match tag {
                elf::DT_NEEDED => facts.needed.push(text),
                elf::DT_RPATH | elf::DT_RUNPATH => {
                    facts.run_path.extend(text.split(':').map(str::to_string));
                }
                _ => {}
            }
        }
    }
    let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM).map_err(broken)?;
    for s in symbols.iter() {
        use object::read::elf::Sym;
        let names = match (s.is_undefined(endian), s.st_bind()) {
            (_, elf::STB_LOCAL) => continue,
            // Nothing is missing when nobody defines it.
            (true, elf::STB_WEAK) => continue,
            (true, _) => &mut facts.undefined,
            (false, _) => &mut facts.exported,
        };
        if let Ok(name) = s.name(endian, symbols.strings()) {
            names.insert(String::from_utf8_lossy(name).into_owned());
        }
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Some((mut needs, link)) = sections.gnu_verneed(endian, data).map_err(broken)? {
        let strings = sections.strings(endian, data, link).map_err(broken)?;
        while let Ok(Some((need, mut versions))) = needs.next() {
            let Ok(file) = need.file(endian, strings) else { continue };
            let wanted = facts.wanted.entry(text(file)).or_default();
            while let Ok(Some(version)) = versions.next() {
                if let Ok(name) = version.name(endian, strings) {
                    wanted.insert(text(name));
                }
            }
        }
    }
    if let Some((mut defs, link)) = sections.gnu_verdef(endian, data).map_err(broken)? {
        let strings = sections.strings(endian, data, link).map_err(broken)?;
        while let Ok(Some((_, mut names))) = defs.next() {
            if let Ok(Some(name)) = names.next() {
                if let Ok(name) = name.name(endian, strings) {
                    facts.offered.insert(text(name));
                }
            }
        }
    }
    // Names of symbols look the same as what `GetApi` is asked for; only constants are that.
    let mut constants = Vec::new();
    for s in sections.iter() {
        let loaded = s.sh_flags(endian) & u64::from(elf::SHF_ALLOC) != 0;
        if loaded && s.sh_type(endian) == elf::SHT_PROGBITS {
            s.data(endian, data).map_err(broken)?;
            let at = s.sh_offset(endian);
            constants.push((at, at + s.sh_size(endian)));
        }
    }
    if sections.is_empty() {
        constants.push((0, data.len() as u64));
    }
    // However often they overlap, which a damaged file may say, each byte is looked at once.
    constants.sort_unstable();
    let mut done = 0;
    for (from, to) in constants {
        let part = from.max(done) as usize..to as usize;
        if data.get(part.clone()).is_some_and(|part| !part.is_empty()) {
            facts.constants.push((part.start, part.end));
            done = to;
        }
    }
    Ok(facts)
}

/// What a file is that is no ELF file.
fn other_kind(data: &[u8]) -> &'static str {
    match data {
        [] => "is empty",
        d if d.starts_with(b"#!") => "is a script",
        d if d.starts_with(b"MZ") => "is a Windows program",
        [0xcf, 0xfa, 0xed, 0xfe, ..] => "is a macOS library",
        d if d.starts_with(b"!<arch>\n") => "is a static library",
        _ => "has no ELF header",
    }
}

/// Collects the API names: C strings of one of the two prefixes and an identifier.
fn find_names(data: &[u8], facts: &mut Facts) {
    const TAIL: &[u8] = b"Module_";
    let mut at = 0;
    while let Some(found) = data[at..].windows(TAIL.len()).position(|w| w == TAIL) {
        let tail = at + found;
        at = tail + TAIL.len();
        let valkey = data[..tail].ends_with(b"Valkey");
        let begin = match valkey {
            true => tail.wrapping_sub(6),
            false if data[..tail].ends_with(b"Redis") => tail - 5,
            false => continue,
        };
        // A string of its own: the one before it ended.
        if begin > 0 && data[begin - 1] != 0 {
            continue;
        }
        let name = &data[at..];
        let len = name.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'_').count();
        let name = &name[..len];
        if len > 0 && data.get(at + len) == Some(&0) && !matches!(name, b"OnLoad" | b"OnUnload") {
            facts.asked.insert(String::from_utf8_lossy(name).into_owned());
            facts.valkey_prefix |= valkey;
        }
    }
}
