"""One room for each kind of data, all furnished alike.

`data/` decides what `data/processed` holds: readers, the preprocessor and its parts. Beside it, where this kind has one
of its own: `augment` (what training does to a batch), `baseline` and `report` (evaluation), `traits` (what a monitor
watches), `row` (what a server takes), `guess` (what `init-task` sees). An engine finds them by the module of the
preprocessor's class (`flywheel.project.companion`); it imports no room.
"""
