// The convolutions of a narrow `cnn`, forward and backward, in float32, for one set of sizes.
//
// policies/kernels.py has them compiled on the machine that runs them, with the sizes WIDTH, STACK,
// ROWS and COLS: of pictures in 4x4 blocks. The lanes of a vector are output channels of one place,
// and sums run over the inputs, always in the same order.
//
// The 8x8 kernels of the first layer are cut into four pieces of 4x4, each an output of its own, so
// that vectors are full where a layer has few outputs; sums take their pieces from neighbours.

#include <cstddef>

#if defined(__AVX512F__)
constexpr int NATIVE = 16, REGISTERS = 26;  // lanes of a vector; vectors that sums may take
#elif defined(__AVX__)
constexpr int NATIVE = 8, REGISTERS = 12;
#else
constexpr int NATIVE = 4, REGISTERS = 16;
#endif

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

constexpr int least(int a, int b) { return a < b ? a : b; }
constexpr int lanes(int n) { return n <= 4 ? 4 : n <= 8 ? least(8, NATIVE) : NATIVE; }
constexpr int vectors(int n) { return (n + lanes(n) - 1) / lanes(n); }
constexpr int padded(int n) { return vectors(n) * lanes(n); }

template <int L> struct Lanes {
    typedef float vector __attribute__((vector_size(4 * L), aligned(4), may_alias));
};
template <int N> using Vector = typename Lanes<lanes(N)>::vector;  // that suits N outputs

constexpr int INPUTS = STACK * 16, PIECES = 4 * WIDTH, TWICE = 2 * WIDTH;
constexpr int ROWS1 = ROWS - 1, COLS1 = COLS - 1;  // places of each layer's output
constexpr int ROWS2 = (ROWS1 - 4) / 2 + 1, COLS2 = (COLS1 - 4) / 2 + 1;
constexpr int ROWS3 = ROWS2 - 2, COLS3 = COLS2 - 2;
constexpr int SIZE1 = ROWS1 * COLS1 * WIDTH, SIZE2 = ROWS2 * COLS2 * TWICE,
              SIZE3 = ROWS3 * COLS3 * TWICE;
constexpr int SLACK = 16;  // floats beyond an array, as whole vectors may read and write

// -------------------------------------------------------------------------- products
//
// Each comes in three functions: a tile whose sums stay in registers, all rows of so many vectors,
// and all vectors, up to four at once so that there is room for several rows.

// y[m, :] += the sum over k of x[m, k] w[k, :]
template <int M, int NV, int L>
static inline void product_tile(int depth, const float *x, ptrdiff_t x_row, const float *w,
                                ptrdiff_t w_row, float *y) {
    using V = typename Lanes<L>::vector;
    V sum[M][NV];
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < NV; n++) sum[m][n] = *(const V *)(y + m * w_row + n * L);
    for (int k = 0; k < depth; k++) {
        V row[NV];
        UNROLL for (int n = 0; n < NV; n++) row[n] = *(const V *)(w + k * w_row + n * L);
        UNROLL for (int m = 0; m < M; m++)
            UNROLL for (int n = 0; n < NV; n++) sum[m][n] += x[m * x_row + k] * row[n];
    }
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < NV; n++) *(V *)(y + m * w_row + n * L) = sum[m][n];
}

template <int M_ALL, int NV, int L>
static inline void product_rows(int depth, const float *x, ptrdiff_t x_row, const float *w,
                                ptrdiff_t w_row, float *y) {
    constexpr int MOST = least(12, REGISTERS / NV), TILES = (M_ALL + MOST - 1) / MOST;
    constexpr int M = (M_ALL + TILES - 1) / TILES, WHOLE = M_ALL / M, REST = M_ALL % M;
    for (int t = 0; t < WHOLE; t++)
        product_tile<M, NV, L>(depth, x + t * M * x_row, x_row, w, w_row, y + t * M * w_row);
    if constexpr (REST > 0)
        product_tile<REST, NV, L>(depth, x + WHOLE * M * x_row, x_row, w, w_row,
                                  y + WHOLE * M * w_row);
}

template <int M_ALL, int N>
static inline void product(int depth, const float *x, ptrdiff_t x_row, const float *w, float *y) {
    constexpr int L = lanes(N), ALL = vectors(N), NV = least(ALL, 4), REST = ALL % NV;
    for (int v = 0; v + NV <= ALL; v += NV)
        product_rows<M_ALL, NV, L>(depth, x, x_row, w + v * L, ALL * L, y + v * L);
    if constexpr (REST > 0)
        product_rows<M_ALL, REST, L>(depth, x, x_row, w + (ALL - REST) * L, ALL * L,
                                     y + (ALL - REST) * L);
}

// The places of an output, and how far apart in floats the inputs of neighbours begin.
struct Places {
    int rows, cols;
    ptrdiff_t down, right;
};

// dw[k, :] += the sum over places of x[place, k] g[place, :]
template <int M, int NV, int L>
static inline void outer_tile(Places at, const float *x, const float *g, ptrdiff_t row, float *dw) {
    using V = typename Lanes<L>::vector;
    V sum[M][NV];
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < NV; n++) sum[m][n] = *(const V *)(dw + m * row + n * L);
    for (int i = 0; i < at.rows; i++)
        for (int j = 0; j < at.cols; j++) {
            const float *from = x + i * at.down + j * at.right;
            V now[NV];
            UNROLL for (int n = 0; n < NV; n++)
                now[n] = *(const V *)(g + (i * at.cols + j) * row + n * L);
            UNROLL for (int m = 0; m < M; m++)
                UNROLL for (int n = 0; n < NV; n++) sum[m][n] += from[m] * now[n];
        }
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < NV; n++) *(V *)(dw + m * row + n * L) = sum[m][n];
}

template <int K, int NV, int L>
static inline void outer_rows(Places at, const float *x, const float *g, ptrdiff_t row, float *dw) {
    constexpr int M = least(K, least(16, REGISTERS / NV)), WHOLE = K / M, REST = K % M;
    for (int t = 0; t < WHOLE; t++)
        outer_tile<M, NV, L>(at, x + t * M, g, row, dw + t * M * row);
    if constexpr (REST > 0)
        outer_tile<REST, NV, L>(at, x + WHOLE * M, g, row, dw + WHOLE * M * row);
}

template <int K, int N>
static inline void outer(Places at, const float *x, const float *g, float *dw) {
    constexpr int L = lanes(N), ALL = vectors(N), NV = least(ALL, 4), REST = ALL % NV;
    for (int v = 0; v + NV <= ALL; v += NV)
        outer_rows<K, NV, L>(at, x, g + v * L, ALL * L, dw + v * L);
    if constexpr (REST > 0)
        outer_rows<K, REST, L>(at, x, g + (ALL - REST) * L, ALL * L, dw + (ALL - REST) * L);
}

// dx[:K] += the sum over n of g[n] w[n, :K]
template <int K, int N> static inline void spread(const float *g, const float *w, float *dx) {
    constexpr int L = lanes(K), ALL = vectors(K), AT_ONCE = least(ALL, 8);
    for (int first = 0; first < ALL; first += AT_ONCE) {
        Vector<K> sum[AT_ONCE] = {};
        UNROLL for (int v = 0; v < AT_ONCE; v++)
            if (first + v < ALL) sum[v] = *(const Vector<K> *)(dx + (first + v) * L);
        for (int n = 0; n < N; n++)
            UNROLL for (int v = 0; v < AT_ONCE; v++)
                if (first + v < ALL)
                    sum[v] += g[n] * *(const Vector<K> *)(w + (n * ALL + first + v) * L);
        UNROLL for (int v = 0; v < AT_ONCE; v++)
            if (first + v < ALL) *(Vector<K> *)(dx + (first + v) * L) = sum[v];
    }
}

// -------------------------------------------------------------------------- rows of numbers

template <int N> static inline void relu(const float *x, float *to) {
    for (int c = 0; c < N; c++) to[c] = x[c] > 0 ? x[c] : 0;
}

// The gradient of relu, where it gave `out`.
template <int N> static inline void masked(const float *out, const float *dout, float *to) {
    for (int c = 0; c < N; c++) to[c] = out[c] > 0 ? dout[c] : 0;
}

// Copy N numbers in whole vectors: what lies behind them is overwritten.
template <int N> static inline void copy(const float *from, float *to) {
    for (int c = 0; c < N; c += lanes(N)) *(Vector<N> *)(to + c) = *(const Vector<N> *)(from + c);
}

// total[:N] += the sum of so many rows of N.
template <int N> static inline void add_rows(int rows, const float *x, float *total) {
    Vector<N> sum[vectors(N)] = {};
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors(N); v++)
            sum[v] += *(const Vector<N> *)(x + i * N + v * lanes(N));
    for (int c = 0; c < N; c++) total[c] += ((const float *)sum)[c];
}

// -------------------------------------------------------------------------- the first layer

struct First {
    static constexpr int ROW = padded(PIECES), GRID = COLS1 + 2;
    float w[INPUTS * ROW], dw[INPUTS * ROW], db[WIDTH];
    float pieces[ROWS * COLS * ROW + SLACK];
    float g[(ROWS1 + 2) * GRID * WIDTH + SLACK];  // with a border of zeros

    // Where weights (WIDTH, 8, 8, STACK) have that of an input of a piece.
    static ptrdiff_t place(int piece, int input) {
        int corner = piece / WIDTH, row = corner / 2 * 4 + input % 16 / 4;
        int col = corner % 2 * 4 + input % 4;
        return ((piece % WIDTH * 8 + row) * 8 + col) * STACK + input / 16;
    }
    void load(const float *from, float scale) {
        for (int k = 0; k < INPUTS; k++)
            for (int p = 0; p < ROW; p++)
                w[k * ROW + p] = p < PIECES ? scale * from[place(p, k)] : 0;
    }
    void clear() {
        for (float &x : dw) x = 0;
        for (float &x : db) x = 0;
    }
    void unload(float scale, float *weights, float *bias) const {
        for (int k = 0; k < INPUTS; k++)
            for (int p = 0; p < PIECES; p++) weights[place(p, k)] = scale * dw[k * ROW + p];
        for (int c = 0; c < WIDTH; c++) bias[c] = db[c];
    }
    void forward(const float *x, const float *bias, float *out) {
        for (float &piece : pieces) piece = 0;
        for (int i = 0; i < ROWS; i++)
            product<COLS, PIECES>(INPUTS, x + i * COLS * INPUTS, INPUTS, w,
                                  pieces + i * COLS * ROW);
        for (int i = 0; i < ROWS1; i++)
            for (int j = 0; j < COLS1; j++, out += WIDTH) {
                const float *here = pieces + (i * COLS + j) * ROW, *below = here + COLS * ROW;
                float sum[WIDTH];
                for (int c = 0; c < WIDTH; c++)
                    sum[c] = bias[c] + here[c] + here[ROW + WIDTH + c] + below[2 * WIDTH + c] +
                             below[ROW + 3 * WIDTH + c];
                relu<WIDTH>(sum, out);
            }
    }
    void backward(const float *x, const float *out, const float *dout) {
        for (int i = 0; i < ROWS1; i++) {
            float *row = g + ((i + 1) * GRID + 1) * WIDTH;
            masked<COLS1 * WIDTH>(out + i * COLS1 * WIDTH, dout + i * COLS1 * WIDTH, row);
            add_rows<WIDTH>(COLS1, row, db);
        }
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < COLS; j++) {  // in this order, as copies write too much
                float *to = pieces + (i * COLS + j) * ROW;
                const float *above = g + (i * GRID + j) * WIDTH, *here = above + GRID * WIDTH;
                copy<WIDTH>(here + WIDTH, to);
                copy<WIDTH>(here, to + WIDTH);
                copy<WIDTH>(above + WIDTH, to + 2 * WIDTH);
                copy<WIDTH>(above, to + 3 * WIDTH);
            }
        constexpr int STRIP = 3;  // rows at a time, which stay in the nearest cache
        for (int i = 0; i < ROWS; i += STRIP)
            outer<INPUTS, PIECES>({least(STRIP, ROWS - i), COLS, COLS * INPUTS, INPUTS},
                                  x + i * COLS * INPUTS, pieces + i * COLS * ROW, dw);
    }
};

// -------------------------------------------------------------------------- the others

template <int IN, int OUT, int SIDE, int STEP, int COLS_IN, int ROWS_OUT, int COLS_OUT>
struct Later {
    static constexpr int DEPTH = SIDE * IN;  // inputs in a row of a kernel, side by side
    static constexpr int ROW = padded(OUT), ROW_IN = padded(DEPTH), PLACES = ROWS_OUT * COLS_OUT;
    static constexpr ptrdiff_t RIGHT = STEP * IN, DOWN = COLS_IN * IN;
    float w[SIDE][DEPTH * ROW], turned[SIDE][OUT * ROW_IN], dw[SIDE][DEPTH * ROW], db[OUT];
    float sums[PLACES * ROW], tight[PLACES * OUT + SLACK], g[PLACES * ROW + SLACK];

    // Of weights (OUT, SIDE, SIDE, IN).
    void load(const float *from) {
        for (int r = 0; r < SIDE; r++) {
            for (int k = 0; k < DEPTH; k++)
                for (int c = 0; c < ROW; c++)
                    w[r][k * ROW + c] = c < OUT ? from[(c * SIDE + r) * DEPTH + k] : 0;
            for (int c = 0; c < OUT; c++)
                for (int k = 0; k < ROW_IN; k++)
                    turned[r][c * ROW_IN + k] = k < DEPTH ? from[(c * SIDE + r) * DEPTH + k] : 0;
        }
    }
    void clear() {
        for (auto &row : dw)
            for (float &x : row) x = 0;
        for (float &x : db) x = 0;
    }
    void unload(float *weights, float *bias) const {
        for (int c = 0; c < OUT; c++)
            for (int r = 0; r < SIDE; r++)
                for (int k = 0; k < DEPTH; k++)
                    weights[(c * SIDE + r) * DEPTH + k] = dw[r][k * ROW + c];
        for (int c = 0; c < OUT; c++) bias[c] = db[c];
    }
    void forward(const float *x, const float *bias, float *out) {
        for (int p = 0; p < PLACES; p++)
            for (int c = 0; c < ROW; c++) sums[p * ROW + c] = c < OUT ? bias[c] : 0;
        for (int i = 0; i < ROWS_OUT; i++)
            for (int r = 0; r < SIDE; r++)
                product<COLS_OUT, OUT>(DEPTH, x + (i * STEP + r) * DOWN, RIGHT, w[r],
                                       sums + i * COLS_OUT * ROW);
        for (int p = 0; p < PLACES; p++) relu<OUT>(sums + p * ROW, out + p * OUT);
    }
    // dx (of the input) is added to.
    void backward(const float *x, const float *out, const float *dout, float *dx) {
        masked<PLACES * OUT>(out, dout, tight);
        add_rows<OUT>(PLACES, tight, db);
        for (int p = 0; p < PLACES; p++) copy<OUT>(tight + p * OUT, g + p * ROW);
        for (int r = 0; r < SIDE; r++)
            outer<DEPTH, OUT>({ROWS_OUT, COLS_OUT, STEP * DOWN, RIGHT}, x + r * DOWN, g, dw[r]);
        for (int i = 0; i < ROWS_OUT; i++)
            for (int j = 0; j < COLS_OUT; j++)
                for (int r = 0; r < SIDE; r++)
                    spread<DEPTH, OUT>(g + (i * COLS_OUT + j) * ROW, turned[r],
                                       dx + (i * STEP + r) * DOWN + j * RIGHT);
    }
};

static thread_local First first;
static thread_local Later<WIDTH, TWICE, 4, 2, COLS1, ROWS2, COLS2> second;
static thread_local Later<TWICE, TWICE, 3, 1, COLS2, ROWS3, COLS3> third;
static thread_local float d1[SIZE1 + SLACK], d2[SIZE2 + SLACK];

// Pictures (n, ROWS, COLS, INPUTS) as floats, or as codes of one byte, signed or not.
enum Kind { FLOATS, SIGNED, UNSIGNED };
constexpr int PICTURE = ROWS * COLS * INPUTS;
static thread_local float picture[PICTURE];

template <typename Code> static const float *converted(const void *x, ptrdiff_t i) {
    const Code *codes = (const Code *)x + i * PICTURE;
    for (int k = 0; k < PICTURE; k++) picture[k] = codes[k];
    return picture;
}

static const float *picture_at(const void *x, Kind kind, ptrdiff_t i) {
    if (kind == SIGNED) return converted<signed char>(x, i);
    if (kind == UNSIGNED) return converted<unsigned char>(x, i);
    return (const float *)x + i * PICTURE;
}

// Weights, and their gradients, lie channels last. y1 and y2 are what the first two layers give, of
// the whole batch if `keep`, else of one picture.

extern "C" void forward(int n, const void *x, Kind kind, float scale, const float *w1,
                        const float *b1, const float *w2, const float *b2, const float *w3,
                        const float *b3, float *y1, float *y2, float *y3, int keep) {
    first.load(w1, scale), second.load(w2), third.load(w3);
    for (ptrdiff_t i = 0; i < n; i++) {
        float *mine1 = y1 + keep * i * SIZE1, *mine2 = y2 + keep * i * SIZE2;
        first.forward(picture_at(x, kind, i), b1, mine1);
        second.forward(mine1, b2, mine2);
        third.forward(mine2, b3, y3 + i * SIZE3);
    }
}

extern "C" void backward(int n, const void *x, Kind kind, float scale, const float *w2,
                         const float *w3, const float *y1, const float *y2, const float *y3,
                         const float *dy3, float *dw1, float *db1, float *dw2, float *db2,
                         float *dw3, float *db3) {
    second.load(w2), third.load(w3);
    first.clear(), second.clear(), third.clear();
    for (ptrdiff_t i = 0; i < n; i++) {
        for (float &value : d1) value = 0;
        for (float &value : d2) value = 0;
        third.backward(y2 + i * SIZE2, y3 + i * SIZE3, dy3 + i * SIZE3, d2);
        second.backward(y1 + i * SIZE1, y2 + i * SIZE2, d2, d1);
        first.backward(picture_at(x, kind, i), y1 + i * SIZE1, d1);
    }
    first.unload(scale, dw1, db1), second.unload(dw2, db2), third.unload(dw3, db3);
}
