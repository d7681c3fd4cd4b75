//! A table of scores as HTML.

use super::markup::escaped;
use crate::{
    plot::swatch,
    table::{Better, Cell, Notes, Table, TableRow},
};
use std::fmt::Write;

/// How a table is shown.
#[derive(Debug, Default)]
pub struct Look<'a> {
    /// Says which table of the page it is; its notes are named by it.
    pub id: &'a str,
    /// What stands above it.
    pub caption: &'a str,
    /// Heads over several columns after the first: their text and how many.
    pub groups: &'a [(&'a str, usize)],
    /// What the columns mean, by name.
    pub meanings: &'a [(&'a str, &'a str)],
    /// Rows from the first on that are models, and carry their marks.
    pub models: usize,
}

/// The table in a frame that scrolls sideways, the reasons for what is missing below it. Rows that do not compete and have nothing
/// to say in it are left out.
pub fn render(table: &Table, look: &Look<'_>) -> String {
    let silent =
        |row: &TableRow| row.cells[1..].iter().all(|cell| matches!(cell, Cell::Missing { .. }));
    let rows = table.rows.iter().filter(|row| row.ranked || !silent(row)).cloned().collect();
    let table = &Table { columns: table.columns.clone(), rows };
    let mut notes = Notes::default();
    let best: Vec<Vec<bool>> = (0..table.columns.len()).map(|column| table.best(column)).collect();
    let decimals: Vec<usize> =
        (0..table.columns.len()).map(|column| table.decimals(column)).collect();
    let words: Vec<bool> = (0..table.columns.len()).map(|column| is_words(table, column)).collect();
    let mut body = String::new();
    for (row, cells) in table.rows.iter().enumerate() {
        let ruled = row > 0 && table.rows[row - 1].ranked && !cells.ranked;
        let class = match (cells.ranked, ruled) {
            (true, _) => "",
            (false, true) => " class=\"known ruled\"",
            (false, false) => " class=\"known\"",
        };
        let _ = write!(body, "<tr{class}>");
        for (column, cell) in cells.cells.iter().enumerate() {
            let entry = entry(cell, decimals[column], best[column][row], look.id, &mut notes);
            if column == 0 {
                let mark = if row < look.models { swatch(row) } else { String::new() };
                let _ = write!(body, "<th scope=\"row\">{mark}<span>{}</span></th>", entry.content);
            } else {
                let class =
                    if words[column] { " class=\"words\"" } else { entry.attributes.as_str() };
                let _ = write!(body, "<td{class}>{}</td>", entry.content);
            }
        }
        body.push_str("</tr>\n");
    }
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n<table>\n\
         <caption><span>{caption}</span></caption>\n<thead>\n{groups}{heads}</thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n",
        caption = escaped(look.caption),
        groups = groups(look.groups),
        heads = heads(table, look, &words),
    );
    if best.iter().flatten().any(|best| *best) {
        html.push_str("<p class=\"key\"><b class=\"best\">1.23</b> best of its column</p>\n");
    }
    if !notes.0.is_empty() {
        html.push_str("<ul class=\"reasons\">\n");
        for (index, reason) in notes.0.iter().enumerate() {
            let (id, number) = (look.id, index + 1);
            let _ = writeln!(
                html,
                "<li id=\"{id}-{number}\">—<sup>{number}</sup> {}</li>",
                escaped(reason)
            );
        }
        html.push_str("</ul>\n");
    }
    html
}

fn groups(groups: &[(&str, usize)]) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let heads = groups.iter().fold(String::new(), |mut heads, (text, columns)| {
        let text = escaped(text);
        let _ = write!(heads, "<th scope=\"colgroup\" colspan=\"{columns}\">{text}</th>");
        heads
    });
    format!("<tr class=\"groups\"><td></td>{heads}</tr>\n")
}

fn heads(table: &Table, look: &Look<'_>, words: &[bool]) -> String {
    let mut heads = String::from("<tr>");
    for (column, words) in table.columns.iter().zip(words) {
        let arrow = match column.better {
            Better::Lower => "\u{a0}<span title=\"lower is better\">↓</span>",
            Better::Higher => "\u{a0}<span title=\"higher is better\">↑</span>",
            Better::None => "",
        };
        let meaning = look.meanings.iter().find(|(name, _)| *name == column.name);
        let title = meaning
            .map(|(_, meaning)| format!(" title=\"{}\"", escaped(meaning)))
            .unwrap_or_default();
        let name = escaped(&column.name);
        let class = if *words { " class=\"words\"" } else { "" };
        let _ = write!(heads, "<th scope=\"col\"{class}{title}>{name}{arrow}</th>");
    }
    heads + "</tr>\n"
}

/// Whether a column holds words, which begin at the left, and not figures.
fn is_words(table: &Table, column: usize) -> bool {
    let wordy = |text: &str| text.starts_with(|first: char| !first.is_ascii_digit());
    let mut cells = table.rows.iter().map(|row| &row.cells[column]);
    cells.any(|cell| matches!(cell, Cell::Text(text) if wordy(text)))
}

struct Entry {
    attributes: String,
    content: String,
}

fn entry(cell: &Cell, decimals: usize, best: bool, id: &str, notes: &mut Notes) -> Entry {
    match cell {
        Cell::Text(text) => Entry { attributes: String::new(), content: escaped(text) },
        Cell::Missing { reason } => {
            let number = notes.number(reason);
            Entry {
                attributes: format!(" class=\"none\" title=\"{}\"", escaped(reason)),
                content: format!("—<sup><a href=\"#{id}-{number}\">{number}</a></sup>"),
            }
        }
        Cell::Value { mean, spread, kind } => {
            let (sign, after) = match kind.as_deref() {
                Some("bound") => ("≤ ", String::new()),
                Some("estimate") => ("≈ ", String::new()),
                Some(kind) => ("", format!(" <small>{}</small>", escaped(kind))),
                None => ("", String::new()),
            };
            let number = format!("{sign}{mean:.decimals$}").replace('-', "−");
            let number = if best {
                format!("<b class=\"best\" title=\"best of its column\">{number}</b>")
            } else {
                number
            };
            let spread = spread
                .map(|spread| format!(" <small class=\"spread\">± {spread:.decimals$}</small>"))
                .unwrap_or_default();
            Entry { attributes: String::new(), content: format!("{number}{spread}{after}") }
        }
    }
}
