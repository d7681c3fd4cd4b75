//! Tables as comma-separated values: RFC 4180.

use crate::{Cell, Table};

/// One record a row. A column's spreads, kinds and reasons get columns of their own where it has any.
pub fn write(table: &Table) -> String {
    let mut fields: Vec<Vec<String>> = vec![Vec::new(); table.rows.len() + 1];
    for (index, column) in table.columns.iter().enumerate() {
        let cells: Vec<&Cell> = table.rows.iter().map(|row| &row.cells[index]).collect();
        for (suffix, field) in FIELDS {
            let values: Vec<Option<String>> = cells.iter().map(|cell| field(cell)).collect();
            if suffix.is_empty() || values.iter().any(Option::is_some) {
                fields[0].push(format!("{}{suffix}", column.name));
                for (record, value) in fields[1..].iter_mut().zip(values) {
                    record.push(value.unwrap_or_default());
                }
            }
        }
    }
    let record = |fields: &Vec<String>| {
        let quoted: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
        quoted.join(",") + "\r\n"
    };
    fields.iter().map(record).collect()
}

type Field = fn(&Cell) -> Option<String>;

const FIELDS: [(&str, Field); 4] = [
    ("", |cell| match cell {
        // Rust prints the fewest digits that read back as the same number.
        Cell::Value { mean, .. } => Some(mean.to_string()),
        Cell::Text(text) => Some(text.clone()),
        Cell::Missing { .. } => None,
    }),
    ("_std", |cell| match cell {
        Cell::Value { spread, .. } => spread.map(|spread| spread.to_string()),
        _ => None,
    }),
    ("_kind", |cell| match cell {
        Cell::Value { kind, .. } => kind.clone(),
        _ => None,
    }),
    ("_note", |cell| match cell {
        Cell::Missing { reason } => Some(reason.clone()),
        _ => None,
    }),
];

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_string()
    }
}
