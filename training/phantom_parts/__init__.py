"""Parts of a training phantom, one file each: the body, then what is drawn into it, in order.

`body` has the build of the person and the bent coordinates, `shapes` the tools that draw. Then come
`wall`, `skeleton`, `mediastinum`, `lungs`, `abdomen`, `trees`, `disease` and `scanner`.

Every function that draws takes the body and changes its arrays in place. All random numbers come
from one generator, ``body.rng``, so the order of the calls is a part of the phantom: another order
gives other phantoms. In all files, ``u(low, high)`` draws one number evenly between two.
"""
