"""Tables: reading, roles, contract, splits, the proposal of a project file."""
