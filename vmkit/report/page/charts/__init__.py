"""Pictures as inline SVG.

Widths are in percent and heights in pixels, so that a picture fills the width there is while its lines and dots
keep their size. Colours are classes of the page's style, which has them for light and dark; what a colour says is
also said by a texture, a dash or a word.
"""
