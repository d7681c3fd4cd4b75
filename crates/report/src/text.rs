//! Labels: the 8×8 bitmap font, proportionally spaced, its corners rounded with Scale2x, drawn at any size.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts};

/// Units in the height of a line: one is a pixel of the font.
const EM: f64 = 8.0;
/// Width of a unit over its height: the font was drawn for pixels that are taller than wide.
const ASPECT: f64 = 0.75;
/// Subpixels in a unit after rounding: Scale2x thrice.
const FINE: usize = 8;
const SPACE: f64 = 4.0;
const GAP: f64 = 1.0;
/// Samples along each axis of a pixel.
const SAMPLES: u32 = 4;

/// Heights of labels in pixels, falling.
pub const SIZES: [f64; 7] = [15.0, 14.0, 13.0, 12.0, 11.0, 10.0, 9.0];
/// The first of them that are easy to read.
const COMFORTABLE: usize = 4;

/// A line of text at a size.
#[derive(Debug, Clone)]
pub struct Line {
    glyphs: Vec<(f64, Glyph)>,
    /// Width in units.
    units: f64,
    size: f64,
}

#[derive(Debug, Clone)]
struct Glyph {
    rows: Vec<Vec<bool>>,
    /// First inked column and columns up to the last, in units.
    left: f64,
    width: f64,
}

impl Line {
    /// Lays out a text `size` pixels high.
    pub fn new(text: &str, size: f64) -> Self {
        let mut units = 0.0;
        let mut glyphs = Vec::new();
        for character in text.chars() {
            if character.is_whitespace() {
                units += SPACE;
                continue;
            }
            let glyph = Glyph::of(character);
            let width = glyph.width;
            glyphs.push((units, glyph));
            units += width + GAP;
        }
        Self { glyphs, units: (units - GAP).max(0.0), size }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        (self.units * self.size * ASPECT / EM).ceil() as u32
    }

    /// Every pixel that ink covers, with the share covered.
    pub fn pixels(&self) -> impl Iterator<Item = (u32, u32, f64)> {
        let (width, height) = (self.width(), self.size.ceil() as u32);
        (0..height).flat_map(move |y| (0..width).map(move |x| (x, y))).filter_map(|(x, y)| {
            let inked = |sub: u32| {
                let at = |pixel: u32, sub: u32| {
                    (f64::from(pixel) + (f64::from(sub) + 0.5) / f64::from(SAMPLES)) * EM
                        / self.size
                };
                self.inked(at(x, sub % SAMPLES) / ASPECT, at(y, sub / SAMPLES))
            };
            let count = (0..SAMPLES * SAMPLES).filter(|sub| inked(*sub)).count();
            (count > 0).then(|| (x, y, count as f64 / f64::from(SAMPLES * SAMPLES)))
        })
    }

    fn inked(&self, x: f64, y: f64) -> bool {
        let after = self.glyphs.partition_point(|(start, _)| *start <= x);
        let Some((start, glyph)) = after.checked_sub(1).map(|index| &self.glyphs[index]) else {
            return false;
        };
        let column = x - start;
        let fine = |units: f64| (units * FINE as f64) as usize;
        column < glyph.width
            && glyph.rows.get(fine(y)).is_some_and(|row| row[fine(glyph.left + column)])
    }
}

impl Glyph {
    fn of(character: char) -> Self {
        let bitmap = BASIC_FONTS
            .get(plain(character))
            .or_else(|| LATIN_FONTS.get(character))
            .or_else(|| BASIC_FONTS.get('?'))
            .unwrap_or_default();
        let inked = bitmap.iter().fold(0, |all, row| all | row);
        // The lowest bit is the leftmost column.
        let (left, right) = match inked {
            0u8 => (0, 1),
            bits => (bits.trailing_zeros(), 8 - bits.leading_zeros()),
        };
        let mut rows: Vec<Vec<bool>> =
            bitmap.iter().map(|row| (0..8).map(|bit| row >> bit & 1 == 1).collect()).collect();
        while rows.len() < 8 * FINE {
            rows = scale2x(&rows);
        }
        Self { rows, left: f64::from(left), width: f64::from(right - left) }
    }
}

/// The keyboard's character for a printer's one that the font lacks.
fn plain(character: char) -> char {
    match character {
        '–' | '—' | '−' => '-',
        '‘' | '’' => '\'',
        '“' | '”' => '"',
        '×' => 'x',
        other => other,
    }
}

/// Twice the size, with diagonal steps cut instead of doubled (Scale2x, Mazzoleni 2001).
fn scale2x(rows: &[Vec<bool>]) -> Vec<Vec<bool>> {
    let (height, width) = (rows.len(), rows[0].len());
    let at = |y: usize, x: usize, dy: isize, dx: isize| {
        let inside = y.checked_add_signed(dy).zip(x.checked_add_signed(dx));
        inside.and_then(|(y, x)| rows.get(y)?.get(x)).copied().unwrap_or(false)
    };
    let mut doubled = vec![vec![false; 2 * width]; 2 * height];
    for y in 0..height {
        for x in 0..width {
            let here = rows[y][x];
            let (up, down) = (at(y, x, -1, 0), at(y, x, 1, 0));
            let (left, right) = (at(y, x, 0, -1), at(y, x, 0, 1));
            let corner = |vertical: bool, horizontal: bool, across: bool, along: bool| {
                if vertical == horizontal && vertical != across && horizontal != along {
                    vertical
                } else {
                    here
                }
            };
            doubled[2 * y][2 * x] = corner(up, left, down, right);
            doubled[2 * y][2 * x + 1] = corner(up, right, down, left);
            doubled[2 * y + 1][2 * x] = corner(down, left, up, right);
            doubled[2 * y + 1][2 * x + 1] = corner(down, right, up, left);
        }
    }
    doubled
}

/// A label broken into lines.
#[derive(Debug, Clone)]
pub struct Label {
    /// Its lines, top to bottom.
    pub lines: Vec<Line>,
    size: f64,
}

impl Label {
    /// Breaks a text into lines of at most `max_width` pixels where it can be broken.
    pub fn wrapped(text: &str, size: f64, max_width: u32) -> Self {
        let mut lines: Vec<String> = vec![String::new()];
        for piece in pieces(text) {
            let line = lines.last_mut().expect("there is a line");
            let longer = format!("{line}{piece}");
            if line.is_empty() || Line::new(longer.trim_end(), size).width() <= max_width {
                *line = longer;
            } else {
                lines.push(piece);
            }
        }
        let lines = lines.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty());
        let lines = lines.map(|line| Line::new(line, size)).collect();
        Self { lines, size }
    }

    /// Width of the widest line in pixels.
    pub fn width(&self) -> u32 {
        self.lines.iter().map(Line::width).max().unwrap_or(0)
    }

    /// Height of all lines in pixels.
    pub fn height(&self) -> u32 {
        let gaps = self.lines.len().saturating_sub(1) as f64;
        (self.lines.len() as f64 * self.size + gaps * self.leading()).ceil() as u32
    }

    /// Each line with its distance from the label's top in pixels.
    pub fn placed(&self) -> impl Iterator<Item = (u32, &Line)> {
        let step = self.size + self.leading();
        self.lines.iter().enumerate().map(move |(i, line)| ((i as f64 * step) as u32, line))
    }

    fn leading(&self) -> f64 {
        self.size / 4.0
    }
}

/// Labels in one size, chosen from `SIZES`: of the comfortable ones that fit into `max_width`, the largest with the
/// fewest lines; else the largest that fits; else the smallest.
pub fn fitted(texts: &[String], max_width: u32) -> Vec<Label> {
    let at = |size: f64| -> Vec<Label> {
        texts.iter().map(|text| Label::wrapped(text, size, max_width)).collect()
    };
    let all = SIZES.map(at);
    let fits = |labels: &&Vec<Label>| labels.iter().all(|label| label.width() <= max_width);
    let lines = |labels: &&Vec<Label>| labels.iter().map(|label| label.lines.len()).max();
    let (comfortable, small) = all.split_at(COMFORTABLE);
    let chosen = comfortable.iter().filter(fits).min_by_key(lines);
    chosen.or_else(|| small.iter().find(fits)).unwrap_or(&all[SIZES.len() - 1]).clone()
}

/// A text cut after every character at which a line may end.
fn pieces(text: &str) -> Vec<String> {
    text.split_inclusive([' ', '/', '-', ',', '=']).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_stands_where_it_should() {
        // The font's | is two columns wide: three pixels at twice its size, with round ends.
        let line = Line::new("|", 16.0);
        assert_eq!(line.width(), 3);
        let mut covered = [[0.0; 3]; 16];
        line.pixels().for_each(|(x, y, coverage)| covered[y as usize][x as usize] = coverage);
        assert_eq!(covered[2], [1.0; 3]);
        assert!(covered[0][0] < covered[0][1]);
        assert_eq!(covered[15], [0.0; 3]);
        // The bar has a gap halfway down.
        assert_eq!([covered[6], covered[7]], [[0.0; 3]; 2]);
    }

    #[test]
    fn corners_are_cut_and_filled() {
        let step = [vec![true, false], vec![true, true]];
        let rows = scale2x(&step);
        let drawn: Vec<String> = rows
            .iter()
            .map(|row| row.iter().map(|ink| if *ink { '#' } else { '.' }).collect())
            .collect();
        assert_eq!(drawn, ["##..", "###.", "####", ".###"]);
    }

    #[test]
    fn labels_break_between_words() {
        for (text, lines) in [("Ankle boot", 2), ("T-shirt/top", 2), ("Bag", 1), ("a-b=c", 1)] {
            let label = Label::wrapped(text, 16.0, 84);
            assert_eq!(label.lines.len(), lines, "{text}");
            assert!(label.width() <= 84, "{text}");
        }
    }

    #[test]
    fn one_size_fits_all() {
        let texts = ["autoregressive".to_string(), "vae".to_string()];
        let height = |max_width| fitted(&texts, max_width)[1].height();
        assert_eq!(height(400), 15);
        assert!(height(100) < 15 && fitted(&texts, 100)[0].width() <= 100);
        assert_eq!(height(10), 9);
        // A line less is worth a little size.
        assert_eq!(fitted(&["Ankle boot".into()], 84)[0].lines.len(), 1);
    }
}
