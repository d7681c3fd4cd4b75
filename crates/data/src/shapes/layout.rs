//! Where objects may lie, in 64ths of the image's side, one free 64th at every edge.

use super::grammar::Relation;
use std::ops::RangeInclusive;

/// Side of the canvas.
pub const SIDE: u8 = 64;

/// Number of layouts of two objects with given radii and relation, all equally likely.
pub const NUM_PAIRS: usize = 54;

type Point = (u8, u8);

/// Coordinates that the centre of an object alone may have, along either axis.
pub fn positions(radius: u8) -> RangeInclusive<u8> {
    radius + 1..=SIDE - 1 - radius
}

/// Number of [`positions`].
pub fn num_positions(radius: u8) -> u8 {
    SIDE - 1 - 2 * radius
}

/// Centres of the main and the second object, for every layout of them.
pub fn pairs(relation: Relation, main: u8, second: u8) -> impl Iterator<Item = (Point, Point)> {
    (0..NUM_PAIRS).map(move |layout| pair(relation, main, second, layout))
}

/// Centres of the main and the second object of these radii, for one `layout` in `0..`[`NUM_PAIRS`].
///
/// Along the axis of the relation the gap is 2 or 4, and the pair lies at the start, in the middle or at the end of what
/// is left. Across it the main object has one of three places, and the second is shifted by −8, 0 or 8 against it: far
/// less than they are apart along the axis, so that the relation stays plain.
pub fn pair(relation: Relation, main: u8, second: u8, layout: usize) -> (Point, Point) {
    let digit = |divisor: usize, base: usize| (layout / divisor % base) as u8;
    let gap = 2 + 2 * digit(1, 2);
    let (first, last) = if relation.main_first() { (main, second) } else { (second, main) };
    let free = SIDE - 2 - 2 * first - 2 * last - gap;
    let start = 1 + free * digit(2, 3) / 2;
    let along = (start + first, start + 2 * first + gap + last);
    let (main_along, second_along) = if relation.main_first() { along } else { (along.1, along.0) };
    let main_across = 26 + 6 * digit(6, 3);
    let second_across = main_across + 8 * digit(18, 3) - 8;
    if relation.is_horizontal() {
        ((main_along, main_across), (second_along, second_across))
    } else {
        ((main_across, main_along), (second_across, second_along))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::grammar::Size;
    use std::collections::HashSet;

    #[test]
    fn pairs_are_distinct_inside_and_apart() {
        for &relation in Relation::ALL {
            for main in Size::Medium.radii() {
                for second in Size::Small.radii() {
                    let all: HashSet<_> = pairs(relation, main, second).collect();
                    assert_eq!(all.len(), NUM_PAIRS);
                    for (a, b) in all {
                        for ((x, y), radius) in [(a, main), (b, second)] {
                            let allowed = positions(radius);
                            assert!(allowed.contains(&x) && allowed.contains(&y), "{a:?} {b:?}");
                        }
                        let apart = match relation {
                            Relation::LeftOf => b.0 - a.0,
                            Relation::RightOf => a.0 - b.0,
                            Relation::Above => b.1 - a.1,
                            Relation::Below => a.1 - b.1,
                        };
                        assert!(apart > main + second);
                    }
                }
            }
        }
    }
}
