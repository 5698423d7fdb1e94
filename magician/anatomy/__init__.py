"""Anatomy: the computed chest behind the teaching study, organ by organ, and the scanner.

`chest` puts a patient together. `section` holds one slice while it is drawn, `shapes` the tools
that draw. Organs are in `wall`, `bones`, `spine`, `mediastinum`, `abdomen`, `lungs` and `trees`;
`scanner` adds the table, the kernel and the noise.
"""
