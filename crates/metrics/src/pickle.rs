//! The part of Python's pickle format (protocol 2) that state dicts are written in. Nothing is imported or called: what
//! the file would have called stays a [`Value::Call`].

/// A value in a pickle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// A function or class: module and name, joined by a dot.
    Global(String),
    /// A tuple or list.
    Items(Vec<Value>),
    /// A dict, ordered or not.
    Entries(Vec<(Value, Value)>),
    /// What a global was called with.
    Call(String, Vec<Value>),
    /// A thing that is kept elsewhere.
    Reference(Box<Value>),
}

impl Value {
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    pub(crate) fn items(&self) -> Option<&[Value]> {
        if let Self::Items(items) = self { Some(items) } else { None }
    }

    pub(crate) fn integers(&self) -> Option<Vec<i64>> {
        self.items()?.iter().map(Self::integer).collect()
    }

    pub(crate) fn entries(&self) -> Option<&[(Value, Value)]> {
        if let Self::Entries(entries) = self { Some(entries) } else { None }
    }

    pub(crate) fn call(&self) -> Option<(&str, &[Value])> {
        if let Self::Call(function, arguments) = self { Some((function, arguments)) } else { None }
    }

    pub(crate) fn reference(&self) -> Option<&Value> {
        if let Self::Reference(value) = self { Some(value) } else { None }
    }
}

/// The value that `bytes` begin with, and what follows it.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn read(bytes: &[u8]) -> Result<(Value, &[u8]), String> {
    let mut machine =
        Machine { rest: bytes, stack: Vec::new(), marks: Vec::new(), memo: Vec::new() };
    loop {
        if let Some(value) = machine.step()? {
            return Ok((value, machine.rest));
        }
    }
}

/// The stack machine that a pickle is a program for.
struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    /// Heights of the stack where a list of values of unknown length begins.
    marks: Vec<usize>,
    /// Values to be used again. Those that state dicts use again do not change once they are here.
    memo: Vec<(u32, Value)>,
}

impl<'a> Machine<'a> {
    /// Executes one instruction; the last one gives the value.
    fn step(&mut self) -> Result<Option<Value>, String> {
        let [opcode] = self.take()?;
        match opcode {
            0x80 => {
                let [version] = self.take()?;
                if version != 2 {
                    return Err(format!("pickle protocol {version}, but only 2 is read"));
                }
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => {
                let [value] = self.take()?;
                self.stack.push(Value::Integer(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take()?);
                self.stack.push(Value::Integer(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.take()?);
                self.stack.push(Value::Integer(value.into()));
            }
            0x8a => {
                let [len] = self.take()?;
                let bytes = self.take_slice(len.into())?;
                self.stack.push(Value::Integer(long(bytes)));
            }
            b'G' => {
                let value = f64::from_be_bytes(self.take()?);
                self.stack.push(Value::Float(value));
            }
            b'X' => {
                let len = u32::from_le_bytes(self.take()?);
                let bytes = self.take_slice(len as usize)?;
                let text = String::from_utf8(bytes.to_vec()).map_err(|_| "text is not UTF-8")?;
                self.stack.push(Value::Text(text));
            }
            b'c' => {
                let global = format!("{}.{}", self.take_line()?, self.take_line()?);
                self.stack.push(Value::Global(global));
            }
            b'q' => {
                let [at] = self.take()?;
                self.memorize(at.into())?;
            }
            b'r' => {
                let at = u32::from_le_bytes(self.take()?);
                self.memorize(at)?;
            }
            b'h' => {
                let [at] = self.take()?;
                self.recall(at.into())?;
            }
            b'j' => {
                let at = u32::from_le_bytes(self.take()?);
                self.recall(at)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b')' | b']' => self.stack.push(Value::Items(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.stack.push(Value::Items(items));
            }
            0x85..=0x87 => {
                let items = self.pop_many((opcode - 0x84).into())?;
                self.stack.push(Value::Items(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b'}' => self.stack.push(Value::Entries(Vec::new())),
            b's' => {
                let items = self.pop_many(2)?;
                self.insert(items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(items)?;
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = match (function, arguments) {
                    (Value::Global(name), Value::Items(_)) if name == "collections.OrderedDict" => {
                        Value::Entries(Vec::new())
                    }
                    (Value::Global(name), Value::Items(arguments)) => Value::Call(name, arguments),
                    _ => return Err("a call of what is no function".into()),
                };
                self.stack.push(value);
            }
            // Attributes of the object below: a state dict's say nothing of its tensors.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let name = self.pop()?;
                self.stack.push(Value::Reference(Box::new(name)));
            }
            b'.' => return Ok(Some(self.pop()?)),
            other => {
                return Err(format!(
                    "a pickle with the instruction {other:#04x}, which no state dict needs"
                ));
            }
        }
        Ok(None)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(end)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take_slice(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(end)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn take_line(&mut self) -> Result<String, String> {
        let len = self.rest.iter().position(|&byte| byte == b'\n').ok_or_else(end)?;
        let line = String::from_utf8_lossy(self.take_slice(len)?).into_owned();
        self.rest = &self.rest[1..];
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(damaged)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let at = self.stack.len().checked_sub(count).ok_or_else(damaged)?;
        Ok(self.stack.split_off(at))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let at = self.marks.pop().filter(|&at| at <= self.stack.len()).ok_or_else(damaged)?;
        Ok(self.stack.split_off(at))
    }

    fn append(&mut self, new: Vec<Value>) -> Result<(), String> {
        let Some(Value::Items(items)) = self.stack.last_mut() else { return Err(damaged()) };
        items.extend(new);
        Ok(())
    }

    /// Puts keys and values, one after the other, into the dict on top of the stack.
    fn insert(&mut self, new: Vec<Value>) -> Result<(), String> {
        let Some(Value::Entries(entries)) = self.stack.last_mut() else { return Err(damaged()) };
        let mut new = new.into_iter();
        while let Some(key) = new.next() {
            entries.push((key, new.next().ok_or_else(damaged)?));
        }
        Ok(())
    }

    fn memorize(&mut self, at: u32) -> Result<(), String> {
        let value = self.stack.last().ok_or_else(damaged)?.clone();
        self.memo.push((at, value));
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Result<(), String> {
        // Pickles number their values from 0 on, so that it mostly stands right there.
        let here = self.memo.get(at as usize).filter(|(name, _)| *name == at);
        let found = here.or_else(|| self.memo.iter().rfind(|(name, _)| *name == at));
        let (_, value) = found.ok_or_else(damaged)?;
        self.stack.push(value.clone());
        Ok(())
    }
}

/// Little-endian two's complement. A number beyond 64 bits, such as the magic one, is cut to its lowest.
fn long(bytes: &[u8]) -> i64 {
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut padded = [fill; 8];
    padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    i64::from_le_bytes(padded)
}

fn end() -> String {
    "the file ends within a pickle".into()
}

fn damaged() -> String {
    "a damaged pickle".into()
}
