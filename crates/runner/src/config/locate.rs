//! Where each key of a YAML text stands: line and column, for error messages.

use saphyr_parser::{Event, Parser, Span};
use std::{collections::BTreeMap, fmt};

/// Keys from the root of a file down to a value; entries of a list by their index.
pub type KeyPath = Vec<String>;

/// A place in a text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text has no positions to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// It is not YAML.
    Syntax {
        /// Where the parser gave up.
        at: Position,
        /// The parser's reason.
        message: String,
    },
    /// A mapping names a key twice.
    Duplicate {
        /// The key.
        path: KeyPath,
        /// Where it stands for the second time.
        at: Position,
        /// Where it stands for the first time.
        first: Position,
    },
}

/// The position of every key and of every list entry in a YAML text.
#[derive(Debug, Clone, Default)]
pub struct Positions(BTreeMap<KeyPath, Position>);

impl Positions {
    /// Walks a text once.
    ///
    /// # Errors
    /// A [`Flaw`]: the text is not YAML, or a mapping names a key twice.
    pub fn of(text: &str) -> Result<Self, Flaw> {
        let mut walk =
            Walk { parser: Parser::new_from_str(text), path: Vec::new(), found: BTreeMap::new() };
        while let Some((event, _)) = walk.next()? {
            walk.value(event)?;
        }
        Ok(Self(walk.found))
    }

    /// Position of the deepest part of `path` that the text has; the text's start if it has none of it.
    pub fn deepest(&self, path: &[String]) -> Position {
        (1..=path.len())
            .rev()
            .find_map(|depth| self.0.get(&path[..depth]).copied())
            .unwrap_or(Position { line: 1, column: 1 })
    }

    /// Whether the text itself has this path.
    pub fn contains(&self, path: &[String]) -> bool {
        self.0.contains_key(path)
    }
}

struct Walk<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    path: KeyPath,
    found: BTreeMap<KeyPath, Position>,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Flaw> {
        self.parser.next().transpose().map_err(|error| Flaw::Syntax {
            at: position(error.marker()),
            message: error.info().to_string(),
        })
    }

    /// Consumes one value, whose first event is given.
    fn value(&mut self, event: Event) -> Result<(), Flaw> {
        match event {
            Event::MappingStart(..) => {
                while let Some((event, span)) = self.next()? {
                    if matches!(event, Event::MappingEnd) {
                        break;
                    }
                    self.entry(event, span)?;
                }
            }
            Event::SequenceStart(..) => {
                for index in 0.. {
                    let Some((event, span)) = self.next()? else { break };
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    self.path.push(index.to_string());
                    self.found.insert(self.path.clone(), position(&span.start));
                    self.value(event)?;
                    self.path.pop();
                }
            }
            // Scalars and aliases have nothing inside; the stream's and document's own events neither.
            _ => {}
        }
        Ok(())
    }

    /// Consumes a key, which is given, and its value.
    fn entry(&mut self, key: Event, span: Span) -> Result<(), Flaw> {
        let at = position(&span.start);
        let Event::Scalar(key, ..) = key else {
            return Err(Flaw::Syntax { at, message: "a key must be a plain text".into() });
        };
        self.path.push(key.into_owned());
        if let Some(first) = self.found.insert(self.path.clone(), at) {
            return Err(Flaw::Duplicate { path: self.path.clone(), at, first });
        }
        if let Some((event, _)) = self.next()? {
            self.value(event)?;
        }
        self.path.pop();
        Ok(())
    }
}

fn position(marker: &saphyr_parser::Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(dotted: &str) -> KeyPath {
        dotted.split('.').map(str::to_string).collect()
    }

    #[test]
    fn positions_of_keys_lists_and_aliases() {
        let text = "a: &x { b: 1, c: [4, 5] }\nd: *x\ne:\n  - f: 1\n  - g\n  -\n   - 9\ni: 2\n";
        let positions = Positions::of(text).unwrap();
        for (at, line, column) in [
            ("a", 1, 1),
            ("a.b", 1, 9),
            ("a.c.1", 1, 22),
            ("d", 2, 1),
            ("d.b", 2, 1),
            ("e.0.f", 4, 5),
            ("e.1", 5, 5),
            ("e.2.0", 7, 6),
            ("i", 8, 1),
            ("i.missing", 8, 1),
            ("nowhere", 1, 1),
        ] {
            assert_eq!(positions.deepest(&path(at)), Position { line, column }, "{at}");
        }
    }

    #[test]
    fn a_key_given_twice_has_both_positions() {
        let flaw = Positions::of("a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap_err();
        let at = Position { line: 4, column: 3 };
        let first = Position { line: 2, column: 3 };
        assert_eq!(flaw, Flaw::Duplicate { path: path("a.b"), at, first });
    }
}
