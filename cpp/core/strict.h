// Whether faster methods that round more often than the plain sum may run.
#pragma once

namespace neocog {

// Set for the process: then every result has the error bound of the direct method.
bool strict();
void set_strict(bool strict);

}  // namespace neocog
